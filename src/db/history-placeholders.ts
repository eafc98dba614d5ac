/**
 * Placeholders that come after their media.
 *
 * Meta announces media of the history by a placeholder in its thread, and sends them in a webhook of their own that names
 * neither thread nor status, and in Meta's own example another sender. Either may be first. The row says the same in the
 * end: what the media are, in the conversation, direction and status of the placeholder.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import { detailOf } from '../core/fact.ts'
import type { Database } from './schema.ts'

/** Columns of a placeholder that are about where it belongs and what became of it. */
export type PlaceholderRow = {
  wa_message_id: string
  conversation_id: string
  direction: string
  sender_contact_id: string | null
  status: string | null
  error: string | null
  sent_at: Date | null
}

const RECORD = `wa_message_id text, conversation_id bigint, direction text, sender_contact_id bigint, status text,
  error text, sent_at timestamptz`

export type FiledMessage = {
  id: string
  wa_message_id: string
  /** Where it was, which may be where it is. */
  left_id: string
  conversation_id: string
}

/**
 * Gives rows that have their content from media of the history the place of their placeholders. Those that changed by it;
 * none when it is repeated. To be called with the rows locked; once it is committed, `moveClocks` for what came back.
 */
export async function fileUnderPlaceholders(
  trx: Transaction<Database>,
  placeholders: readonly PlaceholderRow[],
): Promise<FiledMessage[]> {
  if (placeholders.length === 0) return []
  const { rows } = await sql<FiledMessage>`
    WITH told AS (
      SELECT m.id, m.conversation_id AS left_id, r.*, coalesce((wa_status_rank(r.status), r.status)
        > (coalesce(wa_status_rank(m.status), -1), coalesce(m.status, '')), false) AS is_ahead
      FROM json_to_recordset(${JSON.stringify(placeholders)}::json) AS r (${sql.raw(RECORD)})
      JOIN chat_messages m ON m.wa_message_id = r.wa_message_id AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
      WHERE m.source = 'history' AND m.detail = ${detailOf('history', false)}
    ), filed AS (
      UPDATE chat_messages m SET conversation_id = t.conversation_id, direction = t.direction,
        sender_contact_id = coalesce(m.sender_contact_id, t.sender_contact_id),
        status = CASE WHEN t.is_ahead THEN t.status ELSE m.status END,
        error = CASE WHEN t.is_ahead THEN t.error::jsonb ELSE m.error END,
        sent_at = coalesce(m.sent_at, t.sent_at), updated_at = now()
      FROM told t
      WHERE m.id = t.id AND (t.is_ahead OR (m.conversation_id, m.direction) <> (t.conversation_id, t.direction)
        OR (m.sent_at IS NULL AND t.sent_at IS NOT NULL))
      RETURNING m.id, m.wa_message_id, t.left_id, m.conversation_id
    ), noted AS (
      INSERT INTO changes (kind, conversation_id, message_id)
      SELECT 'message.updated', conversation_id, id FROM filed ORDER BY id
    )
    SELECT id, wa_message_id, left_id, conversation_id FROM filed`.execute(trx)
  return rows
}

/**
 * A conversation is listed by the time of its last message: the one that a message came to may have a later one now, the
 * one that it left may have none. In a transaction of its own, because who has written to a conversation and then locks
 * it waits for others who do the same; in two statements, because only the second one sees what was written before the
 * lock was had.
 */
export async function moveClocks(db: Kysely<Database>, filed: readonly FiledMessage[]): Promise<void> {
  const moved = filed.filter((message) => message.left_id !== message.conversation_id)
  if (moved.length === 0) return
  const conversationIds = moved.flatMap((message) => [message.left_id, message.conversation_id])
  const messageIds = moved.map((message) => message.id)
  await db.transaction().execute(async (trx) => {
    await sql`
      SELECT id FROM conversations WHERE id = ANY(${conversationIds}::bigint[])
      ORDER BY id FOR NO KEY UPDATE`.execute(trx)
    await sql`
      UPDATE conversations c SET last_message_at = CASE
        WHEN EXISTS (SELECT FROM chat_messages m WHERE m.conversation_id = c.id)
        THEN greatest(c.last_message_at, (
          SELECT max(least(m.sent_at, m.received_at)) FROM chat_messages m
          WHERE m.id = ANY(${messageIds}::bigint[]) AND m.conversation_id = c.id
        )) END
      WHERE c.id = ANY(${conversationIds}::bigint[])`.execute(trx)
  })
}
