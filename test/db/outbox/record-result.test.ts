import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SendResult } from '../../../src/core/outbound.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { readOpenBreakers } from '../../../src/db/outbox/circuit-breaker.ts'
import { type Claim, claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { META_PHONE_NUMBER_ID, wamid } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const error = { code: 1, message: 'refused' }
const RECIPIENT_RATE: SendResult = { kind: 'not_sent', reason: 'recipient_rate', error }
const NUMBER_RATE: SendResult = { kind: 'not_sent', reason: 'number_rate', error }
const UNREACHABLE: SendResult = { kind: 'not_sent', reason: 'unreachable', error }
const STOP: SendResult = { kind: 'stop_sender', error }
const FAILED: SendResult = { kind: 'failed', error }
const UNKNOWN: SendResult = { kind: 'unknown', error }
const accepted = (wa_message_id = wamid()): SendResult => ({ kind: 'accepted', wa_message_id })

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
  await database.pool.query(
    `INSERT INTO send_buckets (provider, business_number, rate_per_second, tokens, refilled_at)
     VALUES ('meta', $1, 1000, 100, now())`,
    [META_PHONE_NUMBER_ID],
  )
})
beforeEach(() => database.pool.query('DELETE FROM send_pauses; DELETE FROM send_doubts'))

const order = (phone = String(++phones)) => orderText(database.db, 'Hello', { to: { phone } })
const claim = async (id: string): Promise<Claim> => {
  const outcome = await claimNext(database.db, id)
  if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
  return outcome.claim
}
const record = (claimed: Claim, result: SendResult) => recordSendResult(database.db, claimed, result, 'one')
const read = async (id: string) =>
  (
    await database.pool.query(
      'SELECT *, extract(epoch FROM not_before - updated_at)::float8 AS wait_seconds FROM chat_messages WHERE id = $1',
      [id],
    )
  ).rows[0]
const set = (id: string, assignments: string) =>
  database.pool.query(`UPDATE chat_messages SET ${assignments} WHERE id = $1`, [id])
const doubts = async () => (await database.pool.query('SELECT in_a_row FROM send_doubts')).rows
const endWaits = () =>
  database.pool.query(
    'UPDATE chat_messages SET not_before = clock_timestamp() WHERE not_before IS NOT NULL; UPDATE send_pauses SET paused_until = clock_timestamp()',
  )

describe('the result of a send', () => {
  test('gives the message the statuses that came before it, under an id that nobody knew', async () => {
    const claimed = await claim(await order())
    const id = claimed.message.message_id
    await writeBatch(database.db, [
      statusItem('wamid.EARLY', 'read', { business_number: META_PHONE_NUMBER_ID }),
    ])
    expect((await read(id)).status).toBe('sending')

    expect(await record(claimed, { kind: 'accepted', wa_message_id: 'wamid.EARLY' })).toBe('accepted')

    expect(await read(id)).toMatchObject({ wa_message_id: 'wamid.EARLY', status: 'read' })
  })

  test('that accepted it gives it the id, the time of the call and no error, and is safe to repeat', async () => {
    const claimed = await claim(await order())
    const id = claimed.message.message_id
    const before = await read(id)
    const result = accepted('wamid.ACCEPTED')

    for (let i = 0; i < 2; i++) expect(await record(claimed, result)).toBe('accepted')

    const row = await read(id)
    expect(row).toMatchObject({ status: 'accepted', wa_message_id: 'wamid.ACCEPTED', error: null })
    expect(Math.abs(row.sent_at - before.sending_since)).toBeLessThan(30_000)
    expect(await record(claimed, accepted())).toBe('superseded')
    expect(await read(id)).toEqual(row)
  })

  test('under an id that another message of the API has leaves it in doubt', async () => {
    await record(await claim(await order()), accepted('wamid.TAKEN'))
    const claimed = await claim(await order())

    expect(await record(claimed, accepted('wamid.TAKEN'))).toBe('unknown')

    expect(await read(claimed.message.message_id)).toMatchObject({
      status: 'unknown',
      wa_message_id: null,
      error: [{ code: 'wa_message_id_taken' }],
    })
  })

  test.each([true, false])(
    'under an id that an echo of another number of ours has: the same message when the provider chose the number (%s)',
    async (isNumberChosen) => {
      const [wa_message_id, phone] = [wamid(), String(++phones)]
      const claimed = await claim(await order(phone))
      const fact = { source: 'echo', direction: 'outbound', status: 'sent', contact: { phone } } as const
      await writeBatch(database.db, [messageItem(wa_message_id, { ...fact, business_number: 'another' })])

      const outcome = await record(claimed, { kind: 'accepted', wa_message_id, isNumberChosen })

      expect(outcome).toBe(isNumberChosen ? 'accepted' : 'unknown')
    },
  )

  test('of a message that was deleted meanwhile changes nothing', async () => {
    const claimed = await claim(await order())
    await database.pool.query('DELETE FROM chat_messages WHERE id = $1', [claimed.message.message_id])

    for (const result of [accepted(), FAILED, UNKNOWN, RECIPIENT_RATE])
      expect(await record(claimed, result)).toBe('superseded')

    expect(await doubts()).toEqual([])
  })

  test.each<[string, SendResult, string]>([
    ['accepted', accepted(), 'accepted'],
    ['refused', FAILED, 'failed'],
  ])('of a trial that the provider %s closes the breaker: it answers', async (_, result, outcome) => {
    await record(await claim(await order()), NUMBER_RATE)
    expect(await readOpenBreakers(database.db)).toHaveLength(1)
    await endWaits()

    const trial = await claim(await order())
    expect(await record(trial, result)).toBe(outcome)

    expect(await readOpenBreakers(database.db)).toEqual([])
  })

  test.each<[string, SendResult, { business_number: string; credential: string | null; seconds: number }]>([
    ['its number', NUMBER_RATE, { business_number: META_PHONE_NUMBER_ID, credential: null, seconds: 1 }],
    ['its provider', UNREACHABLE, { business_number: '', credential: null, seconds: 1 }],
    [
      'a stopped sender',
      { ...STOP, error: { ...error, code: 'not_configured' } },
      { business_number: META_PHONE_NUMBER_ID, credential: 'one', seconds: 60 },
    ],
  ])('that makes %s wait queues the message, which has no wait of its own', async (_, result, breaker) => {
    const claimed = await claim(await order())

    expect(await record(claimed, result)).toBe('queued')

    expect(await read(claimed.message.message_id)).toMatchObject({
      status: 'queued',
      not_before: null,
      error: [{ message: error.message }],
    })
    const { rows } = await database.pool.query(
      `SELECT business_number, credential, round(extract(epoch FROM paused_until - since))::integer AS seconds
       FROM send_pauses`,
    )
    expect(rows).toEqual([breaker])
  })

  test('that makes only its recipient wait opens no breaker', async () => {
    await record(await claim(await order()), RECIPIENT_RATE)

    expect(await readOpenBreakers(database.db)).toEqual([])
  })

  test.each<[string, SendResult, string]>([
    ['refused', FAILED, 'failed'],
    ['not sent', NUMBER_RATE, 'failed'],
    ['not sent to this recipient', RECIPIENT_RATE, 'failed'],
    ['in doubt', UNKNOWN, 'superseded'],
  ])('that comes after the sweep made the message unknown: %s', async (_, result, outcome) => {
    const claimed = await claim(await order())
    const id = claimed.message.message_id
    await set(id, `status = 'unknown', error = '[{"code": "lost"}]'`)

    expect(await record(claimed, result)).toBe(outcome)

    expect(await read(id)).toMatchObject(
      outcome === 'failed'
        ? { status: 'failed', error: [error], not_before: null }
        : { status: 'unknown', error: [{ code: 'lost' }] },
    )
    expect(await doubts()).toEqual([])
  })

  test.each<[string, SendResult, string]>([
    ['refused', FAILED, 'failed'],
    ['in doubt', UNKNOWN, 'unknown'],
    ['not sent', RECIPIENT_RATE, 'queued'],
  ])('is recorded once, and in no other row: %s', async (_, result, status) => {
    const claimed = await claim(await order())
    const other = await claim(await order())
    const others = await read(other.message.message_id)
    const before = await read(claimed.message.message_id)

    expect(await record(claimed, result)).toBe(status)
    const row = await read(claimed.message.message_id)
    expect(await record(claimed, result)).toBe('superseded')
    if (status !== 'unknown') expect(await record(claimed, FAILED)).toBe('superseded')

    expect(row).toMatchObject({ status, error: [error] })
    expect(row.updated_at > before.updated_at).toBe(true)
    expect(await read(claimed.message.message_id)).toEqual(row)
    expect(await read(other.message.message_id)).toEqual(others)
    expect(await doubts()).toEqual(status === 'unknown' ? [{ in_a_row: 1 }] : [])
  })

  test.each([
    "status = 'delivered'",
    "wa_message_id = 'wamid.FIRST'",
    "status = 'sent', wa_message_id = 'wamid.BOTH'",
  ])('changes nothing after a status has set %s', async (assignments) => {
    const claimed = await claim(await order())
    const id = claimed.message.message_id
    await set(id, assignments)
    const row = await read(id)

    for (const result of [FAILED, UNKNOWN, RECIPIENT_RATE])
      expect(await record(claimed, result)).toBe('superseded')

    expect(await read(id)).toEqual(row)
    expect(await doubts()).toEqual([])
  })

  test('backs a message off for four times as long each time, and begins again after another result', async () => {
    const id = await order()
    const waits: (number | null)[] = []
    for (const result of [RECIPIENT_RATE, RECIPIENT_RATE, RECIPIENT_RATE, NUMBER_RATE, RECIPIENT_RATE]) {
      expect(await record(await claim(id), result)).toBe('queued')
      const { wait_seconds } = await read(id)
      waits.push(wait_seconds === null ? null : Math.round(wait_seconds))
      await endWaits()
    }

    expect(waits).toEqual([1, 4, 16, null, 1])
  })

  test.each<[SendResult, string]>([
    [UNKNOWN, 'superseded'],
    [FAILED, 'superseded'],
    [NUMBER_RATE, 'superseded'],
  ])('of an earlier claim (%o) changes nothing of a later one', async (result, outcome) => {
    const id = await order()
    const early = await claim(id)
    await record(early, RECIPIENT_RATE)
    await endWaits()
    const late = await claim(id)

    expect(await record(early, result)).toBe(outcome)

    expect(await read(id)).toMatchObject({ status: 'sending', send_attempts: late.attempt })
    expect(late.attempt).toBe(early.attempt + 1)
  })
})
