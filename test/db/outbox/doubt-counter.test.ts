/** In-doubt results in a row: what they open, and what ends them. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SendResult } from '../../../src/core/outbound.ts'
import { readOpenBreakers } from '../../../src/db/outbox/circuit-breaker.ts'
import { type Claim, claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import { eventually } from '../../support/eventually.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const IN_DOUBT: SendResult = { kind: 'unknown', error: { code: 'timeout', message: 'no answer in time' } }
const FAILED: SendResult = { kind: 'failed', error: { code: 131026, message: 'cannot be delivered' } }

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(() => database.pool.query('DELETE FROM send_pauses; DELETE FROM send_doubts'))

const order = (number = META_PHONE_NUMBER_ID) =>
  orderText(database.db, 'Hello', { to: { phone: String(++phones) } }, { defaultNumbers: { meta: number } })
const claim = async (number?: string): Promise<Claim> => {
  const id = await order(number)
  return eventually(async () => {
    const outcome = await claimNext(database.db, id)
    if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
    return outcome.claim
  })
}
const record = (claimed: Claim, result: SendResult) => recordSendResult(database.db, claimed, result, 'one')
const send = async (result: SendResult, number?: string) => record(await claim(number), result)
const accepted = (id = ++phones): SendResult => ({ kind: 'accepted', wa_message_id: `wamid.${id}` })
const endPauses = () => database.pool.query('UPDATE send_pauses SET paused_until = clock_timestamp()')
const openFor = async () =>
  (await readOpenBreakers(database.db)).map(({ business_number }) => business_number)

describe('in-doubt results in a row', () => {
  test('open the breaker of their number at the third, and of no other number', async () => {
    await send(IN_DOUBT)
    await send(IN_DOUBT)
    expect(await openFor()).toEqual([])

    await send(IN_DOUBT)

    expect(await readOpenBreakers(database.db)).toMatchObject([
      { provider: 'meta', business_number: META_PHONE_NUMBER_ID, failures: 1, error: { code: 'timeout' } },
    ])
    expect(await claimNext(database.db, await order())).toEqual({ kind: 'paused' })
    expect(await send(accepted(), 'another')).toBe('accepted')
  })

  test.each<[string, SendResult]>([
    ['an accepted message', accepted()],
    ['a refused message', FAILED],
  ])('%s ends them: the count begins again', async (_, answer) => {
    for (const result of [IN_DOUBT, IN_DOUBT, answer, IN_DOUBT, IN_DOUBT]) await send(result)

    expect(await openFor()).toEqual([])
  })

  test('are not ended by an answer to another number', async () => {
    for (const [result, number] of [[IN_DOUBT], [IN_DOUBT], [accepted(), 'another'], [IN_DOUBT]] as const)
      await send(result, number)

    expect(await openFor()).toEqual([META_PHONE_NUMBER_ID])
  })

  test('of workers that record them at the same moment are all counted, and open one breaker once', async () => {
    const claims = await Promise.all(Array.from({ length: 12 }, () => claim()))

    expect(new Set(await Promise.all(claims.map((claimed) => record(claimed, IN_DOUBT))))).toEqual(
      new Set(['unknown']),
    )

    expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 1 }])
    const { rows } = await database.pool.query('SELECT in_a_row FROM send_doubts')
    expect(rows).toEqual([{ in_a_row: 12 }])
  })

  test('do not include calls that the worker itself ended, nor messages whose status came first', async () => {
    for (let i = 0; i < 3; i++) await send({ ...IN_DOUBT, isCutOff: true })
    for (let i = 0; i < 3; i++) {
      const claimed = await claim()
      await database.pool.query(`UPDATE chat_messages SET status = 'delivered' WHERE id = $1`, [
        claimed.message.message_id,
      ])
      expect(await record(claimed, IN_DOUBT)).toBe('superseded')
    }

    expect(await openFor()).toEqual([])
    expect((await database.pool.query('SELECT * FROM send_doubts')).rows).toEqual([])
  })

  test('one message at a time tries, and each that is in doubt doubles the wait, up to five minutes', async () => {
    for (let i = 0; i < 3; i++) await send(IN_DOUBT)
    const waits: number[] = []
    for (let i = 0; i < 7; i++) {
      const [{ wait }] = (
        await database.pool.query(
          'SELECT extract(epoch FROM paused_until - clock_timestamp())::float8 AS wait FROM send_pauses',
        )
      ).rows
      waits.push(Math.round(wait))
      await endPauses()
      const trial = await claim()
      expect(await claimNext(database.db, await order())).toEqual({ kind: 'paused' })
      await record(trial, IN_DOUBT)
    }

    expect(waits).toEqual([15, 30, 60, 120, 240, 300, 300])
  })

  test.each([
    ['number_rate', META_PHONE_NUMBER_ID],
    ['unreachable', ''],
  ] as const)(
    'a trial in doubt prolongs a breaker that opened for another reason: %s',
    async (reason, opened) => {
      await send({ kind: 'not_sent', reason, error: { code: 1, message: 'not sent' } })
      await endPauses()

      await send(IN_DOUBT)

      expect(await readOpenBreakers(database.db)).toMatchObject([
        { business_number: opened, failures: 2, error: { code: 'timeout' } },
      ])
    },
  )

  test('a trial that is answered closes the breaker, and the count begins again', async () => {
    for (let i = 0; i < 3; i++) await send(IN_DOUBT)
    await endPauses()

    await send(accepted())

    for (let i = 0; i < 2; i++) await send(IN_DOUBT)
    expect(await openFor()).toEqual([])
  })
})

describe('a provider that answers none of its numbers', () => {
  test('waits as a whole, when the results of three numbers are in doubt, though another provider answers', async () => {
    await send(IN_DOUBT, 'first')
    await send(IN_DOUBT, 'second')
    expect(await openFor()).toEqual([])
    const id = await orderText(database.db, 'Hello', {
      provider: 'twilio',
      to: { phone: String(++phones) },
    })
    const atTwilio = await claimNext(database.db, id)
    if (atTwilio.kind !== 'claimed') throw new Error(`not claimed: ${atTwilio.kind}`)
    await record(atTwilio.claim, accepted())

    await send(IN_DOUBT, 'third')

    expect(await openFor()).toEqual([''])
    expect(await claimNext(database.db, await order('fourth'))).toEqual({ kind: 'paused' })
    await endPauses()
    await send(IN_DOUBT, 'fourth')
    expect(await readOpenBreakers(database.db)).toMatchObject([{ business_number: '', failures: 2 }])
    await endPauses()
    await send(accepted(), 'fourth')
    expect(await openFor()).toEqual([])
  })

  test('does not, when it has answered one of its numbers in between', async () => {
    for (const number of ['first', 'second']) await send(IN_DOUBT, number)
    await send(accepted(), 'third')
    for (const number of ['fourth', 'fifth']) await send(IN_DOUBT, number)

    expect(await openFor()).toEqual([])
  })
})
