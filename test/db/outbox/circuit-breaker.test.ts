import { beforeEach, describe, expect, test } from 'vitest'
import {
  closeForOtherCredentials,
  describeOpenBreaker,
  readOpenBreakers,
} from '../../../src/db/outbox/circuit-breaker.ts'
import { claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import { eventually } from '../../support/eventually.ts'
import { holdLock } from '../../support/held-lock.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const TO_TWILIO = { provider: 'twilio', to: { phone: '15551230009' } } as const
const order = (phone: string) => orderText(database.db, 'Hello', { to: { phone } })
const claimed = (id: string) =>
  eventually(async () => {
    const outcome = await claimNext(database.db, id)
    if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
    return outcome.claim
  })
const refuse = { kind: 'stop_sender', error: { code: 190, message: 'expired' } } as const
const openNow = (credential = 'one', number = META_PHONE_NUMBER_ID) =>
  database.pool.query(
    `INSERT INTO send_pauses (provider, business_number, paused_until, failures, credential, since, updated_at)
     VALUES ('meta', $1, clock_timestamp() + interval '5 seconds', 1, $2, now(), clock_timestamp())`,
    [number, credential],
  )

describe('an open breaker', () => {
  test('that opened while a message was being claimed is neither prolonged nor closed by that message', async () => {
    const first = await claimed(await order('15551230001'))
    await recordSendResult(database.db, first, { kind: 'accepted', wa_message_id: 'wamid.A' }, 'one')
    const id = await order('15551230002')
    const buckets = await holdLock(database, 'SELECT FROM send_buckets FOR UPDATE')
    const claim = claimed(id)
    await buckets.reached()
    await openNow()
    const [before] = await readOpenBreakers(database.db)
    await buckets.release()

    await recordSendResult(database.db, await claim, { kind: 'accepted', wa_message_id: 'wamid.B' }, 'one')
    expect(await readOpenBreakers(database.db)).toEqual([before])
  })

  test('of the provider that opened while a trial for a number was being claimed is not that of the trial', async () => {
    const first = await claimed(await order('15551230001'))
    await recordSendResult(database.db, first, { kind: 'accepted', wa_message_id: 'wamid.A' }, 'one')
    await openNow()
    await database.pool.query('UPDATE send_pauses SET paused_until = clock_timestamp()')
    const buckets = await holdLock(database, 'SELECT FROM send_buckets FOR UPDATE')
    const claim = claimed(await order('15551230002'))
    await buckets.reached()
    await openNow('one', '')
    await buckets.release()

    await recordSendResult(database.db, await claim, { kind: 'accepted', wa_message_id: 'wamid.B' }, 'one')

    expect(await readOpenBreakers(database.db)).toMatchObject([{ business_number: '', failures: 1 }])
  })

  test('is not prolonged by calls that were under way when it opened', async () => {
    const claims = []
    for (const phone of ['15551230001', '15551230002', '15551230003'])
      claims.push(await claimed(await order(phone)))

    await Promise.all(claims.map((claim) => recordSendResult(database.db, claim, refuse, 'one')))

    expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 1 }])
  })

  test('whose time is over lets one of two claims of the same moment try', async () => {
    const first = await claimed(await order('15551230001'))
    await recordSendResult(database.db, first, { kind: 'accepted', wa_message_id: 'wamid.A' }, 'one')
    const ids = [await order('15551230002'), await order('15551230003')]
    await openNow()
    await database.pool.query('UPDATE send_pauses SET paused_until = clock_timestamp()')
    const buckets = await holdLock(database, 'SELECT FROM send_buckets FOR UPDATE')
    const claims = ids.map((id) => claimNext(database.db, id))
    await buckets.reached(2)
    await buckets.release()

    const kinds = (await Promise.all(claims)).map(({ kind }) => kind)
    expect(kinds.toSorted()).toEqual(['claimed', 'paused'])
  })

  test('has the error and the credential of its last trial, which counts once, and the time of its first failure', async () => {
    const id = await order('15551230001')
    const tooMany = { code: 80007, message: 'too many' }
    await recordSendResult(
      database.db,
      await claimed(id),
      { kind: 'not_sent', reason: 'number_rate', error: tooMany },
      'one',
    )
    const [before] = await readOpenBreakers(database.db)
    await database.pool.query('UPDATE send_pauses SET paused_until = clock_timestamp()')
    const trial = await claimed(id)

    for (let i = 0; i < 2; i++) await recordSendResult(database.db, trial, refuse, 'one')

    const { since } = before ?? {}
    expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 2, error: refuse.error, since }])
    await closeForOtherCredentials(database.db, { meta: 'two' })
    expect(await readOpenBreakers(database.db)).toEqual([])
  })

  test('waits twice as long after each trial that fails, up to an hour', async () => {
    const id = await order('15551230001')
    const waits: number[] = []
    for (let i = 0; i < 9; i++) {
      await recordSendResult(database.db, await claimed(id), refuse, 'one')
      const [row] = (
        await database.pool.query(
          'SELECT extract(epoch FROM paused_until - clock_timestamp())::float8 AS wait FROM send_pauses',
        )
      ).rows
      waits.push(Math.round(row.wait / 60))
      await database.pool.query(
        'UPDATE send_pauses SET paused_until = clock_timestamp(); UPDATE chat_messages SET not_before = NULL',
      )
    }

    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
  })

  test('closes for another credential of its provider, and of no other provider', async () => {
    await openNow('one')

    await closeForOtherCredentials(database.db, { meta: 'one', twilio: 'two' })
    expect(await readOpenBreakers(database.db)).toHaveLength(1)
    await closeForOtherCredentials(database.db, { twilio: 'two' })
    expect(await readOpenBreakers(database.db)).toHaveLength(1)

    await closeForOtherCredentials(database.db, { meta: 'two' })
    expect(await readOpenBreakers(database.db)).toEqual([])
  })

  test('of a whole provider stops each of its numbers, and no other provider', async () => {
    const [meta, twilio] = [await order('15551230001'), await orderText(database.db, 'Hello', TO_TWILIO)]
    await database.pool.query(
      `INSERT INTO send_pauses (provider, business_number, paused_until, failures, since, updated_at)
       VALUES ('meta', '', now() + interval '1 minute', 1, now(), now())`,
    )

    expect(await claimNext(database.db, meta)).toEqual({ kind: 'paused' })
    expect(await claimNext(database.db, twilio)).toMatchObject({ kind: 'claimed', claim: { trial: null } })
  })

  test('of a number stays open while that of its provider is over, and the other way round', async () => {
    const id = await order('15551230001')
    for (const over of ['', META_PHONE_NUMBER_ID]) {
      await database.pool.query('DELETE FROM send_pauses')
      await database.pool.query(
        `INSERT INTO send_pauses (provider, business_number, paused_until, failures, since, updated_at)
         SELECT 'meta', number, now() + CASE WHEN number = $1 THEN '-1 minute' ELSE '1 minute' END::interval, 1, now(), now()
         FROM unnest(ARRAY['', $2]) number`,
        [over, META_PHONE_NUMBER_ID],
      )
      expect(await claimNext(database.db, id)).toEqual({ kind: 'paused' })
    }
  })

  test('is described with its sender, its time and its error', async () => {
    await recordSendResult(database.db, await claimed(await order('15551230001')), refuse, 'one')
    const [breaker] = await readOpenBreakers(database.db)

    expect(breaker && describeOpenBreaker(breaker)).toMatch(
      new RegExp(
        `^${META_PHONE_NUMBER_ID} at meta sends nothing until 20.+Z, then one message tries: expired \\(190\\)$`,
      ),
    )
  })
})
