/**
 * Storing as a good engineer would write it into a handler: one prepared statement for each message, which brings its
 * conversation along and drops a duplicate, in one round trip; several in one webhook in one transaction.
 */
import type { Pool, PoolClient } from 'pg'

export type AppMessage = {
  kind: 'message'
  id: string
  business_number: string
  customer: string
  name: string | null
  type: string
  text: string | null
  sent_at: string
  payload: string
}

export type AppStatus = { kind: 'status'; id: string; status: string; occurred_at: string; payload: string }

export type AppEvent = AppMessage | AppStatus

const STORE_MESSAGE = `
  WITH conversation AS (
    INSERT INTO conversations (business_number, customer, name, last_message_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (business_number, customer) DO UPDATE
      SET last_message_at = greatest(conversations.last_message_at, excluded.last_message_at), name = excluded.name
    RETURNING id
  )
  INSERT INTO chat_messages (conversation_id, direction, wa_message_id, message_type, content, payload, sent_at)
  SELECT id, 'inbound', $5, $6, $7, $8::jsonb, $4 FROM conversation
  ON CONFLICT (wa_message_id) DO NOTHING`

/** A status only moves forward, in whatever order they arrive. */
const ORDER = `'{sent,delivered,read}'::text[]`

const STORE_STATUS = `
  WITH stored AS (
    INSERT INTO message_statuses (wa_message_id, status, occurred_at, payload) VALUES ($1, $2, $3, $4::jsonb)
    ON CONFLICT (wa_message_id, status) DO NOTHING
    RETURNING wa_message_id, status
  )
  UPDATE chat_messages m SET status = stored.status FROM stored
  WHERE m.wa_message_id = stored.wa_message_id
    AND coalesce(array_position(${ORDER}, m.status), 0) < array_position(${ORDER}, stored.status)`

/** Stores one event, on its own connection of the pool or in the transaction of the client. */
export async function storeEvent(db: Pool | PoolClient, event: AppEvent): Promise<void> {
  if (event.kind === 'status') {
    const { id, status, occurred_at, payload } = event
    await db.query({ name: 'store-status', text: STORE_STATUS, values: [id, status, occurred_at, payload] })
    return
  }
  const { business_number, customer, name, sent_at, id, type, text, payload } = event
  await db.query({
    name: 'store-message',
    text: STORE_MESSAGE,
    values: [business_number, customer, name, sent_at, id, type, text, payload],
  })
}

/** All events of one webhook or none; locked in the order of their keys, so that two webhooks cannot deadlock. */
export async function storeWebhook(pool: Pool, events: readonly AppEvent[]): Promise<void> {
  const [only] = events
  if (only !== undefined && events.length === 1) return storeEvent(pool, only)
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    for (const event of events.toSorted((a, b) => (lockKey(a) < lockKey(b) ? -1 : 1)))
      await storeEvent(client, event)
    await client.query('COMMIT')
    client.release()
  } catch (err) {
    await client.query('ROLLBACK').catch(() => {})
    client.release()
    throw err
  }
}

function lockKey(event: AppEvent): string {
  return event.kind === 'message' ? `${event.customer} ${event.id}` : `~${event.id} ${event.status}`
}
