import { expect, test } from 'vitest'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { markAsRead } from '../../../src/db/outbox/mark-read.ts'
import { findConversation } from '../../../src/db/views/conversation-list.ts'
import { messageItem, RECEIVED_AT } from '../../support/facts.ts'
import { holdLock } from '../../support/held-lock.ts'
import { createTestDatabase } from '../../support/postgres.ts'

const GATE = 4711

/** The id of the row is allocated before the trigger waits. */
const WAIT_AT_GATE = `
  CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN PERFORM pg_advisory_xact_lock_shared(${GATE}); RETURN NEW; END $$;
  CREATE TRIGGER wait_at_gate BEFORE INSERT ON chat_messages FOR EACH ROW
    WHEN (NEW.wa_message_id = 'wamid.slow') EXECUTE FUNCTION wait_at_gate()`

test('a message that is being stored while later ones are marked as read stays unread', async () => {
  const database = await createTestDatabase()
  const { db, pool } = database
  const at = (minute: number) => ({ sent_at: new Date(RECEIVED_AT - minute * 60_000) })
  await writeBatch(db, [messageItem('wamid.first', at(2))])
  await pool.query(WAIT_AT_GATE)
  const gate = await holdLock(database, `SELECT pg_advisory_xact_lock(${GATE})`)
  // Older than the other one, so that it does not move its conversation up.
  const slow = writeBatch(db, [messageItem('wamid.slow', at(1))])
  await gate.reached()
  await writeBatch(db, [messageItem('wamid.quick', at(0))])

  const { rows } = await pool.query('SELECT id, conversation_id FROM chat_messages ORDER BY id')
  const [first, quick] = rows
  const { id: messageId, conversation_id: conversationId } = quick
  await markAsRead(db, { conversationId, messageId, receiptProviders: [] })
  await gate.release()
  await slow

  expect(await findConversation(db, conversationId)).toMatchObject({
    unread_count: 2,
    last_read_message_id: first.id,
  })
})
