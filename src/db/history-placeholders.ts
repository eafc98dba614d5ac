/**
 * Placeholders that come after their media.
 *
 * Meta announces media of the history by a placeholder in its thread, and sends them in a webhook of their own that names
 * neither thread nor status, and in Meta's own example another sender. Either may be first. The row says the same in the
 * end: what the media are, in the conversation, direction and status of the placeholder.
 */
import { sql, type Transaction } from 'kysely'
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

/**
 * Gives rows that have their content from media of the history the place of their placeholders. The ids of those that
 * changed by it; none when it is repeated. To be called with the rows locked.
 */
export async function fileUnderPlaceholders(
  trx: Transaction<Database>,
  placeholders: readonly PlaceholderRow[],
): Promise<Set<string>> {
  if (placeholders.length === 0) return new Set()
  const { rows } = await sql<{ id: string; wa_message_id: string; left_id: string; conversation_id: string }>`
    WITH told AS (
      SELECT m.id, m.conversation_id AS left_id, r.*, CASE WHEN
          (wa_status_rank(r.status), r.status) > (coalesce(wa_status_rank(m.status), -1), coalesce(m.status, ''))
        THEN true ELSE false END AS is_ahead
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
  await moveClocks(
    trx,
    rows.filter((row) => row.left_id !== row.conversation_id),
  )
  return new Set(rows.map((row) => row.wa_message_id))
}

/** A conversation is listed by its last message: one that a message has left may have none. */
async function moveClocks(
  trx: Transaction<Database>,
  moved: readonly { id: string; left_id: string; conversation_id: string }[],
): Promise<void> {
  if (moved.length === 0) return
  const ids = moved.flatMap((row) => [row.left_id, row.conversation_id])
  await sql`
    WITH locked AS MATERIALIZED (
      SELECT id FROM conversations WHERE id = ANY(${ids}::bigint[]) ORDER BY id FOR NO KEY UPDATE
    ), arrived AS (
      SELECT conversation_id, max(least(sent_at, received_at)) AS happened_at FROM chat_messages
      WHERE id = ANY(${moved.map((row) => row.id)}::bigint[]) GROUP BY conversation_id
    )
    UPDATE conversations c SET last_message_at = CASE
      WHEN EXISTS (SELECT FROM chat_messages m WHERE m.conversation_id = c.id)
      THEN greatest(c.last_message_at, (SELECT happened_at FROM arrived WHERE conversation_id = c.id)) END
    FROM locked WHERE c.id = locked.id`.execute(trx)
}
