/**
 * History placeholders that arrive after their media.
 *
 * Meta announces a media message of the history by a placeholder in its thread, and sends the media in another webhook,
 * which names neither thread nor status and may name another sender (so in Meta's own example). Either can come first. In
 * both orders the row ends with the content of the media and the conversation, direction and status of the placeholder.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import { detailOf } from '../../core/fact.ts'
import { announce } from '../announce.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'
import { statusOrder } from './status-order.ts'

/** The columns of a placeholder that count: where the message belongs, and its status. */
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
 * A placeholder's data for the stored message `id`. When `present_conversation_id` differs from `conversation_id`, the
 * message is still in the wrong conversation.
 */
export type PlaceholderUpdate = PlaceholderRow & { id: string; present_conversation_id: string }

/**
 * Applies direction, status and time of the placeholders to stored media messages. A message that is in another conversation
 * than its placeholder is left for `moveToPlaceholderConversations`; call that with the result, after the commit.
 *
 * The rows must be locked. Returns the messages that were changed or have to be moved; none when it is repeated.
 */
export function applyPlaceholders(
  trx: Transaction<Database>,
  placeholders: readonly PlaceholderRow[],
): Promise<PlaceholderUpdate[]> {
  return updateMessages(trx, placeholders, sql`s.present_conversation_id = s.conversation_id`)
}

/**
 * Moves messages to the conversations of their placeholders, all or none: a message that was not moved is found again when
 * the batch is repeated. In a transaction of its own: two transactions that write to conversations first and lock them
 * afterwards could deadlock.
 */
export async function moveToPlaceholderConversations(
  db: Kysely<Database>,
  updates: readonly PlaceholderUpdate[],
): Promise<void> {
  const misplaced = updates.filter((update) => update.present_conversation_id !== update.conversation_id)
  if (misplaced.length === 0) return
  await db.transaction().execute(async (trx) => {
    await lockMergesShared(trx)
    const placeholders = await followMerges(trx, misplaced)
    await lockConversations(
      trx,
      placeholders.flatMap((placeholder) => [
        placeholder.present_conversation_id,
        placeholder.conversation_id,
      ]),
    )
    await lockMessages(trx, placeholders)
    const moved = await updateMessages(trx, placeholders, sql`true`)
    await updateLastMessageTimes(trx, moved)
  })
}

/**
 * Updates the messages that differ from their placeholders and match `where`; returns all that differ. Of several placeholders
 * of one message, that with the greatest status counts. The rows must be locked, because they are compared before they are
 * written.
 */
async function updateMessages(
  trx: Transaction<Database>,
  placeholders: readonly PlaceholderRow[],
  where: RawBuilder<unknown>,
): Promise<PlaceholderUpdate[]> {
  if (placeholders.length === 0) return []
  const { rows } = await sql<PlaceholderUpdate>`
    WITH greatest AS (
      SELECT DISTINCT ON (wa_message_id) * FROM json_to_recordset(${JSON.stringify(placeholders)}::json) AS r (${sql.raw(RECORD)})
      ORDER BY wa_message_id, ${sql.raw(statusOrder('r.status'))} DESC
    ), compared AS (
      SELECT m.id, m.conversation_id AS present_conversation_id, r.*,
        ${sql.raw(`${statusOrder('r.status')} > ${statusOrder('m.status')}`)} AS is_ahead,
        (m.conversation_id, m.direction) <> (r.conversation_id, r.direction)
        OR (m.sent_at IS NULL AND r.sent_at IS NOT NULL) AS differs
      FROM greatest r
      JOIN chat_messages m ON m.wa_message_id = r.wa_message_id AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
      WHERE m.source = 'history' AND m.detail = ${detailOf('history', false)}
    ), source AS (
      SELECT * FROM compared WHERE is_ahead OR differs
    ), updated AS (
      UPDATE chat_messages m SET conversation_id = s.conversation_id, direction = s.direction,
        sender_contact_id = coalesce(m.sender_contact_id, s.sender_contact_id),
        original_conversation_id = coalesce(m.original_conversation_id, (
          -- It was to move there anyway: see contacts/move-messages.ts.
          SELECT id FROM conversations WHERE id = m.conversation_id AND merged_into = s.conversation_id
        )),
        status = CASE WHEN s.is_ahead THEN s.status ELSE m.status END,
        error = CASE WHEN s.is_ahead THEN s.error::jsonb ELSE m.error END,
        sent_at = coalesce(m.sent_at, s.sent_at), updated_at = now()
      FROM source s WHERE m.id = s.id AND ${where}
      RETURNING m.id, m.conversation_id
    ), announced AS (${announce('message.updated', 'updated')})
    SELECT id, wa_message_id, conversation_id, direction, sender_contact_id, status, error, sent_at, present_conversation_id
    FROM source`.execute(trx)
  return rows
}

/** Replaces conversations that were merged between the two transactions by their survivors. */
async function followMerges(
  trx: Transaction<Database>,
  updates: readonly PlaceholderUpdate[],
): Promise<PlaceholderUpdate[]> {
  const ids = updates.flatMap((update) => [update.present_conversation_id, update.conversation_id])
  const { rows } = await sql<{ id: string; merged_into: string }>`
    SELECT id, merged_into FROM conversations
    WHERE id = ANY(${ids}::bigint[]) AND merged_into IS NOT NULL`.execute(trx)
  const survivors = new Map(rows.map(({ id, merged_into }) => [id, merged_into]))
  const survivorOf = (id: string) => survivors.get(id) ?? id
  return updates.map((update) => ({
    ...update,
    present_conversation_id: survivorOf(update.present_conversation_id),
    conversation_id: survivorOf(update.conversation_id),
  }))
}

async function lockConversations(trx: Transaction<Database>, ids: readonly string[]): Promise<void> {
  await sql`SELECT id FROM conversations WHERE id = ANY(${ids}::bigint[]) ORDER BY id FOR NO KEY UPDATE`.execute(
    trx,
  )
}

async function lockMessages(
  trx: Transaction<Database>,
  placeholders: readonly PlaceholderRow[],
): Promise<void> {
  const ids = placeholders.map((placeholder) => placeholder.wa_message_id)
  await sql`
    SELECT id FROM chat_messages
    WHERE wa_message_id = ANY(${ids}::text[]) AND wa_message_id IS NOT NULL AND wa_message_id <> ''
    ORDER BY wa_message_id FOR NO KEY UPDATE`.execute(trx)
}

/**
 * Sets `last_message_at` of the conversations that messages moved between: the new one may have a later last message, the old
 * one may have no message any more. An earlier statement must have locked the conversations: a statement sees only what was
 * committed before it began.
 */
async function updateLastMessageTimes(
  trx: Transaction<Database>,
  moved: readonly PlaceholderUpdate[],
): Promise<void> {
  const conversationIds = moved.flatMap((message) => [
    message.present_conversation_id,
    message.conversation_id,
  ])
  const messageIds = moved.map((message) => message.id)
  const parts = partsOf(sql`c.id`)
  await sql`
    UPDATE conversations c SET last_message_at = CASE
      WHEN EXISTS (
        SELECT FROM chat_messages m WHERE m.conversation_id IN (SELECT id FROM ${parts} part_of_it)
      )
      THEN greatest(c.last_message_at, (
        SELECT max(least(m.sent_at, m.received_at)) FROM chat_messages m
        WHERE m.id = ANY(${messageIds}::bigint[]) AND m.conversation_id = c.id
      )) END
    WHERE c.id = ANY(${conversationIds}::bigint[])`.execute(trx)
}
