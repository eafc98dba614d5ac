/** The messages of a conversation, newest first, and one message with its history. */
import { type Kysely, sql } from 'kysely'
import { cutPage, type Page, type Position, positionTime } from './keyset.ts'
import { isEffect, timeOf } from './message-effects.ts'
import { type MessageView, readMessageViews } from './message-view.ts'
import type { Database } from './schema.ts'

export type StatusView = {
  status: string
  /** In a group: whose. Else empty. */
  participant: string
  /** The provider's time, where it tells. */
  occurred_at: string | null
  received_at: string
  errors: unknown
}

export type MessageQuery = { conversationId: string; limit: number; after?: Position | undefined }

/**
 * In the order of the provider's time. Reactions, edits and revokes are shown on the message that they are about and are
 * no items themselves, unless that message is not known here. Undefined when there is no such conversation; one that was
 * merged stands for what it became.
 */
export async function listMessages(
  db: Kysely<Database>,
  { conversationId, limit, after }: MessageQuery,
): Promise<Page<MessageView> | undefined> {
  const id = await findPresentId(db, conversationId)
  if (id === undefined) return undefined
  const beyond =
    after === undefined
      ? sql`true`
      : sql`(${timeOf('m')}, m.id) < (${after.time}::timestamptz, ${after.id}::bigint)`
  const { rows } = await sql<Position>`
    SELECT m.id, ${positionTime(timeOf('m'))} AS time FROM chat_messages m
    WHERE m.conversation_id = ${id}::bigint AND ${beyond} AND NOT (${isEffect('m')} AND EXISTS (
      SELECT FROM chat_messages t WHERE t.wa_message_id = m.target_wa_message_id
        AND t.wa_message_id IS NOT NULL AND t.wa_message_id <> ''
    ))
    ORDER BY ${timeOf('m')} DESC, m.id DESC LIMIT ${limit + 1}`.execute(db)
  const page = cutPage(rows, limit)
  const views = await readMessageViews(
    db,
    page.items.map((row) => row.id),
  )
  return { items: page.items.flatMap((row) => views.get(row.id) ?? []), next: page.next }
}

async function findPresentId(db: Kysely<Database>, id: string): Promise<string | undefined> {
  const { rows } = await sql<{ id: string }>`
    SELECT coalesce(merged_into, id) AS id FROM conversations WHERE id = ${id}::bigint`.execute(db)
  return rows[0]?.id
}

export async function findMessage(db: Kysely<Database>, id: string): Promise<MessageView | undefined> {
  return (await readMessageViews(db, [id])).get(id)
}

/** Everything that was heard of a message, in the order in which it happened. */
export async function readStatusHistory(
  db: Kysely<Database>,
  waMessageId: string | null,
): Promise<StatusView[]> {
  if (waMessageId === null) return []
  const { rows } = await sql<
    Omit<StatusView, 'occurred_at' | 'received_at'> & { occurred_at: Date | null; received_at: Date }
  >`
    SELECT status, participant, occurred_at, received_at, errors FROM message_statuses
    WHERE wa_message_id = ${waMessageId}
    ORDER BY coalesce(occurred_at, received_at), wa_status_rank(status) NULLS FIRST, id`.execute(db)
  return rows.map(({ status, participant, occurred_at, received_at, errors }) => ({
    status,
    participant,
    occurred_at: occurred_at?.toISOString() ?? null,
    received_at: received_at.toISOString(),
    errors,
  }))
}
