/**
 * Placeholders that come after their media.
 *
 * Meta announces media of the history by a placeholder in its thread, and sends them in a webhook of their own that names
 * neither thread nor status, and in Meta's own example another sender. Either may be first. The row says the same in the
 * end: what the media are, in the conversation, direction and status of the placeholder.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import { detailOf } from '../../core/fact.ts'
import { announce } from '../announce.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import type { Database } from '../schema.ts'

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

/** What a placeholder tells of a row, which is somewhere else where the two ids differ. */
export type PlaceholderUpdate = PlaceholderRow & { id: string; left_id: string }

/**
 * Gives rows that have their content from media of the history the direction, status and time of their placeholders, where
 * they are in the right conversation already. Those that changed by it and those that are somewhere else; none when it is
 * repeated. To be called with the rows locked; once it is committed, `moveToPlaceholderConversations` for what came back.
 */
export function applyPlaceholders(
  trx: Transaction<Database>,
  placeholders: readonly PlaceholderRow[],
): Promise<PlaceholderUpdate[]> {
  return file(trx, placeholders, sql`t.left_id = t.conversation_id`)
}

/**
 * Moves rows to the conversations of their placeholders, all of it or nothing: a row that is somewhere else is one that
 * the next run finds again. In a transaction of its own, because who has written to a conversation and then locks it waits
 * for others who do the same.
 */
export async function moveToPlaceholderConversations(
  db: Kysely<Database>,
  filed: readonly PlaceholderUpdate[],
): Promise<void> {
  const told = filed.filter((message) => message.left_id !== message.conversation_id)
  if (told.length === 0) return
  await db.transaction().execute(async (trx) => {
    await lockMergesShared(trx)
    const placeholders = await followMerges(trx, told)
    await lockConversations(
      trx,
      placeholders.flatMap((placeholder) => [placeholder.left_id, placeholder.conversation_id]),
    )
    await lockMessages(trx, placeholders)
    const moved = await file(trx, placeholders, sql`true`)
    await moveClocks(trx, moved)
  })
}

/** The rows have to be locked: what is told of them is compared with what they say. `where`: of those that it changes. */
async function file<Placeholder extends PlaceholderRow>(
  trx: Transaction<Database>,
  placeholders: readonly Placeholder[],
  where: RawBuilder<unknown>,
): Promise<(Placeholder & PlaceholderUpdate)[]> {
  if (placeholders.length === 0) return []
  const { rows } = await sql<Pick<PlaceholderUpdate, 'id' | 'wa_message_id' | 'left_id'>>`
    WITH compared AS (
      SELECT m.id, m.conversation_id AS left_id, r.*, coalesce((wa_status_rank(r.status), r.status)
        > (coalesce(wa_status_rank(m.status), -1), coalesce(m.status, '')), false) AS is_ahead,
        (m.conversation_id, m.direction) <> (r.conversation_id, r.direction)
        OR (m.sent_at IS NULL AND r.sent_at IS NOT NULL) AS differs
      FROM json_to_recordset(${JSON.stringify(placeholders)}::json) AS r (${sql.raw(RECORD)})
      JOIN chat_messages m ON m.wa_message_id = r.wa_message_id AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
      WHERE m.source = 'history' AND m.detail = ${detailOf('history', false)}
    ), told AS (
      SELECT * FROM compared WHERE is_ahead OR differs
    ), filed AS (
      UPDATE chat_messages m SET conversation_id = t.conversation_id, direction = t.direction,
        sender_contact_id = coalesce(m.sender_contact_id, t.sender_contact_id),
        status = CASE WHEN t.is_ahead THEN t.status ELSE m.status END,
        error = CASE WHEN t.is_ahead THEN t.error::jsonb ELSE m.error END,
        sent_at = coalesce(m.sent_at, t.sent_at), updated_at = now()
      FROM told t WHERE m.id = t.id AND ${where}
      RETURNING m.id, m.conversation_id
    ), announced AS (${announce('message.updated', 'filed')})
    SELECT id, wa_message_id, left_id FROM told`.execute(trx)
  const byId = new Map(placeholders.map((placeholder) => [placeholder.wa_message_id, placeholder]))
  return rows.flatMap((row) => {
    const placeholder = byId.get(row.wa_message_id)
    return placeholder === undefined ? [] : { ...placeholder, ...row }
  })
}

/** Between the two transactions a conversation may have become another one. */
async function followMerges(
  trx: Transaction<Database>,
  filed: readonly PlaceholderUpdate[],
): Promise<PlaceholderUpdate[]> {
  const ids = filed.flatMap((message) => [message.left_id, message.conversation_id])
  const { rows } = await sql<{ id: string; merged_into: string }>`
    SELECT id, merged_into FROM conversations
    WHERE id = ANY(${ids}::bigint[]) AND merged_into IS NOT NULL`.execute(trx)
  const became = new Map(rows.map(({ id, merged_into }) => [id, merged_into]))
  const now = (id: string) => became.get(id) ?? id
  return filed.map((message) => ({
    ...message,
    left_id: now(message.left_id),
    conversation_id: now(message.conversation_id),
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
 * A conversation is listed by the time of its last message: the one that a message came to may have a later one now, the
 * one that it left may have none. The conversations have to be locked, by a statement before this one: only then does it
 * see what was written before the lock was had.
 */
async function moveClocks(trx: Transaction<Database>, moved: readonly PlaceholderUpdate[]): Promise<void> {
  const conversationIds = moved.flatMap((message) => [message.left_id, message.conversation_id])
  const messageIds = moved.map((message) => message.id)
  await sql`
    UPDATE conversations c SET last_message_at = CASE
      WHEN EXISTS (SELECT FROM chat_messages m WHERE m.conversation_id = c.id)
      THEN greatest(c.last_message_at, (
        SELECT max(least(m.sent_at, m.received_at)) FROM chat_messages m
        WHERE m.id = ANY(${messageIds}::bigint[]) AND m.conversation_id = c.id
      )) END
    WHERE c.id = ANY(${conversationIds}::bigint[])`.execute(trx)
}
