/** What counts as stored: each event, in the table where it belongs, and how often. */
import { describe, expect, test } from 'vitest'
import { completionInRows } from '../../bench/measure/completion.ts'
import type { EventKey } from '../../src/cli/simulate/traffic.ts'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { messageItem, statusItem } from '../support/facts.ts'
import { createTestDatabase } from '../support/postgres.ts'

const MESSAGES: EventKey[] = ['a', 'b', 'c'].map((id) => ({ kind: 'message', wa_message_id: `wamid.${id}` }))
const STATUS: EventKey = { kind: 'status', wa_message_id: 'wamid.sent', status: 'read' }
const KEYS = [...MESSAGES, STATUS]

const acknowledged = {
  events: KEYS.length,
  count: KEYS.length,
  keys: (last = KEYS.length) => KEYS.slice(-last),
}

describe('completionInRows', () => {
  test('finds what is there, and only that', async () => {
    const { db } = await createTestDatabase()
    const completion = completionInRows(db, new AbortController().signal)
    await writeBatch(db, [
      messageItem('wamid.a'),
      messageItem('wamid.other'),
      statusItem('wamid.sent', 'read'),
    ])

    expect(await completion.verify(acknowledged)).toEqual({ stored: 2, doubled: 0 })
  })

  test('waits until the last one is there', async () => {
    const { db } = await createTestDatabase()
    const completion = completionInRows(db, new AbortController().signal)
    let isComplete = false
    const waiting = completion.waitForLast(acknowledged).then(() => {
      isComplete = true
    })

    await writeBatch(db, [messageItem('wamid.a'), messageItem('wamid.b'), messageItem('wamid.c')])
    expect(isComplete).toBe(false)
    await writeBatch(db, [statusItem('wamid.sent', 'read')])
    await waiting

    expect(await completion.verify(acknowledged)).toEqual({ stored: 4, doubled: 0 })
  })

  test('sees a row that is there twice', async () => {
    const { db, pool } = await createTestDatabase()
    await pool.query('DROP INDEX idx_chat_messages_wa_message_id_unique')
    await pool.query(
      `WITH person AS (INSERT INTO contacts DEFAULT VALUES RETURNING id), talk AS (
         INSERT INTO conversations (provider, business_number, contact_id) SELECT 'meta', '1', id FROM person RETURNING id)
       INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type)
       SELECT id, 'inbound', 'meta', 'wamid.a', 'webhook', 14, 'text' FROM talk, generate_series(1, 2)`,
    )

    expect(await completionInRows(db, new AbortController().signal).verify(acknowledged)).toEqual({
      stored: 1,
      doubled: 1,
    })
  })

  test('ends its waiting when the run is given up', async () => {
    const { db } = await createTestDatabase()
    const controller = new AbortController()
    const waiting = completionInRows(db, controller.signal).waitForLast(acknowledged)

    controller.abort()

    await expect(waiting).rejects.toThrow(/abort/i)
  })
})
