import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SendResult } from '../../../src/core/outbound.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { readOpenBreakers } from '../../../src/db/outbox/circuit-breaker.ts'
import { type Claim, claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import { eventually } from '../../support/eventually.ts'
import { statusItem } from '../../support/facts.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const error = { code: 1, message: 'refused' }
const RECIPIENT_RATE: SendResult = { kind: 'not_sent', reason: 'recipient_rate', error }
const NUMBER_RATE: SendResult = { kind: 'not_sent', reason: 'number_rate', error }

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(() => database.pool.query('DELETE FROM send_pauses'))

const order = () => orderText(database.db, 'Hello', { to: { phone: String(++phones) } })
const claim = (id: string): Promise<Claim> =>
  eventually(async () => {
    const outcome = await claimNext(database.db, id)
    if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
    return outcome.claim
  })
const record = (claimed: Claim, result: SendResult) => recordSendResult(database.db, claimed, result, 'one')
const read = async (id: string) =>
  (
    await database.pool.query(
      'SELECT *, extract(epoch FROM not_before - updated_at)::float8 AS wait_seconds FROM chat_messages WHERE id = $1',
      [id],
    )
  ).rows[0]
const endWaits = () =>
  database.pool.query(
    'UPDATE chat_messages SET not_before = NULL; UPDATE send_pauses SET paused_until = clock_timestamp()',
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

  test('of a trial that the provider refused closes the breaker: it answers', async () => {
    await record(await claim(await order()), NUMBER_RATE)
    expect(await readOpenBreakers(database.db)).toHaveLength(1)
    await endWaits()

    const trial = await claim(await order())
    expect(await record(trial, { kind: 'failed', error })).toBe('failed')

    expect(await readOpenBreakers(database.db)).toEqual([])
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
    [{ kind: 'unknown', error }, 'superseded'],
    [{ kind: 'failed', error }, 'superseded'],
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
