/** Rows of `chat_messages` as the batch writer inserts them, and what an insert does to their conversations. */
import { sql, type Transaction } from 'kysely'
import { detailOf } from '../../core/fact.ts'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import { CONTENT_COLUMNS, contentColumns, fromRecord, recordDefinition } from './message-columns.ts'
import { jsonbColumn, payloadColumns, textColumn } from './payload-columns.ts'
import type { MessageItem } from './store-item.ts'

/** A message with the conversation and the sender that it belongs to. */
export type PlacedMessage = { item: MessageItem; conversation_id: string; sender_contact_id: string | null }

export type MessageRow = ReturnType<typeof messageRow>

/** Columns that a copy with a higher `detail` replaces. */
export const REPLACED_COLUMNS = {
  source: 'text',
  detail: 'smallint',
  payload: 'jsonb',
  raw: 'bytea',
  ...CONTENT_COLUMNS,
} as const

const IDENTITY_COLUMNS = {
  conversation_id: 'bigint',
  direction: 'text',
  provider: 'text',
  wa_message_id: 'text',
  sender_contact_id: 'bigint',
  status: 'text',
  error: 'jsonb',
  sent_at: 'timestamptz',
  received_at: 'timestamptz',
} as const

/** All columns that are inserted, and their SQL types. */
export const COLUMNS = { ...IDENTITY_COLUMNS, ...REPLACED_COLUMNS }

/** `json_to_recordset` takes all rows in one parameter, so the text of the statement is always the same. */
export const RECORD = recordDefinition(COLUMNS)

/**
 * Inserts messages and sets `last_message_at` of their conversations, which are locked in the order of their ids. A message
 * that came in the ordinary way also ends the control of another app (contacts/conversation-control.ts). Returns the
 * wa_message_ids that were inserted.
 *
 * While a message was being inserted, its conversation may have been marked as read up to a message with a higher id. Nobody
 * had seen the lower one, so the mark goes back to before it, which `message.created` announces as well. Locking the
 * conversations before ids are given would keep the mark, but writers that meet in a conversation would insert one after the
 * other (measured with four: 13 to 20 % slower).
 */
export async function insertMessages(
  trx: Transaction<Database>,
  rows: readonly MessageRow[],
): Promise<Set<string>> {
  const result = await sql<{ wa_message_id: string }>`
    WITH inserted AS (
      INSERT INTO chat_messages (${sql.raw(Object.keys(COLUMNS).join(', '))})
      SELECT ${sql.raw(
        Object.entries(COLUMNS)
          .map(([name, type]) => fromRecord(name, type))
          .join(', '),
      )}
      FROM json_to_recordset(${JSON.stringify(rows)}::json) AS r(${sql.raw(RECORD)})
      ON CONFLICT (wa_message_id) WHERE wa_message_id IS NOT NULL AND wa_message_id <> '' DO NOTHING
      RETURNING id, conversation_id, wa_message_id, least(sent_at, received_at) AS happened_at,
        CASE WHEN direction = 'inbound' AND source = 'webhook' AND sent_at IS NOT NULL
          THEN least(sent_at, received_at) END AS heard_at,
        CASE WHEN direction = 'inbound' AND source <> 'history' THEN id - 1 END AS read_before_id
    ), latest AS (
      SELECT conversation_id, max(happened_at) AS happened_at, max(heard_at) AS heard_at,
        min(read_before_id) AS read_before_id
      FROM inserted GROUP BY conversation_id
    ), locked AS MATERIALIZED (
      -- All of them, whatever this statement's snapshot has of a row: the lock gives its newest version.
      SELECT id, last_message_at, last_read_message_id, control_holder, control_confirmed_at FROM conversations
      WHERE id = ANY(ARRAY(SELECT conversation_id FROM inserted)) ORDER BY id FOR NO KEY UPDATE
    ), compared AS (
      SELECT c.id, c.last_message_at, l.*, c.last_read_message_id > l.read_before_id AS was_read_unseen,
        coalesce(c.control_holder = 'other' AND c.control_confirmed_at <= l.heard_at, false) AS gets_control
      FROM locked c JOIN latest l ON l.conversation_id = c.id
    ), concerned AS (
      SELECT * FROM compared
      WHERE last_message_at IS NULL OR last_message_at < happened_at OR gets_control OR was_read_unseen
    ), updated_conversations AS (
      UPDATE conversations c SET last_message_at = greatest(c.last_message_at, l.happened_at),
        last_read_message_id = CASE WHEN l.was_read_unseen THEN l.read_before_id ELSE c.last_read_message_id END,
        control_holder = CASE WHEN l.gets_control THEN 'self' ELSE c.control_holder END,
        control_role = CASE WHEN l.gets_control THEN NULL ELSE c.control_role END,
        control_at = CASE WHEN l.gets_control THEN l.heard_at ELSE c.control_at END,
        control_confirmed_at = CASE WHEN l.gets_control THEN l.heard_at ELSE c.control_confirmed_at END
      FROM concerned l WHERE c.id = l.id
      RETURNING c.id, l.gets_control
    ), controlled AS (
      SELECT id FROM updated_conversations WHERE gets_control
    ), announced_control AS (${announce('conversation.control', 'controlled')}
    ), announced AS (${announce('message.created', 'inserted')})
    SELECT wa_message_id FROM inserted`.execute(trx)
  return new Set(result.rows.map((row) => row.wa_message_id))
}

export function messageRow({ item, conversation_id, sender_contact_id }: PlacedMessage) {
  const { fact, event } = item
  return {
    conversation_id,
    direction: fact.direction,
    provider: fact.provider,
    wa_message_id: fact.wa_message_id,
    sender_contact_id,
    status: textColumn(fact.status),
    error: jsonbColumn(item, fact.error),
    sent_at: fact.sent_at ?? null,
    received_at: new Date(event.received_at),
    source: fact.source,
    detail: detailOf(fact.source, fact.is_placeholder),
    ...payloadColumns(item),
    ...contentColumns(item),
  }
}
