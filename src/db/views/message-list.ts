/** The messages of a conversation, newest first, and one message with its history. */
import { type Kysely, sql } from 'kysely'
import { parseExact } from '../../core/json-text.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'
import { type MessageView, readMessageViews } from './message.ts'
import { isEffect, timeOf } from './message-effects.ts'
import { cutPage, type Page, type Position, positionTime } from './paging.ts'

export type StatusView = {
  status: string
  /** The participant of a group that the status is of; else ''. */
  participant: string
  /** The provider's time, if known. */
  occurred_at: string | null
  received_at: string
  errors: unknown
}

export type MessageQuery = { conversationId: string; limit: number; after?: Position | undefined }

/**
 * A page of messages, newest first by the provider's time. Reactions, edits and revokes are shown on their target and are no
 * items, unless the target is not stored. A merged conversation stands for its survivor. Undefined: there is no such
 * conversation.
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
    SELECT l.id, ${positionTime(sql`l.happened_at`)} AS time
    FROM ${partsOf(sql`${id}::bigint`)} part CROSS JOIN LATERAL (
      SELECT m.id, ${timeOf('m')} AS happened_at FROM chat_messages m
      WHERE m.conversation_id = part.id AND ${beyond} AND NOT (${isEffect('m')} AND EXISTS (
        SELECT FROM chat_messages t WHERE t.wa_message_id = m.target_wa_message_id
          AND t.wa_message_id IS NOT NULL AND t.wa_message_id <> ''
      ))
      ORDER BY ${timeOf('m')} DESC, m.id DESC LIMIT ${limit + 1}
    ) l
    ORDER BY l.happened_at DESC, l.id DESC LIMIT ${limit + 1}`.execute(db)
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

/** The message with this id, or the one that it was merged into. */
export async function findMessage(db: Kysely<Database>, id: string): Promise<MessageView | undefined> {
  const view = (await readMessageViews(db, [id])).get(id)
  if (view !== undefined) return view
  const { rows } = await sql<{ kept_id: string }>`
    SELECT kept_id FROM chat_messages_duplicates
    WHERE source_table = 'chat_messages' AND original_id = ${id} AND kept_id <> ${id}
    ORDER BY id DESC LIMIT 1`.execute(db)
  const keptId = rows[0]?.kept_id
  return keptId === undefined ? undefined : (await readMessageViews(db, [keptId])).get(keptId)
}

export type MessageWithHistory = MessageView & { statuses: StatusView[]; payload: unknown }

/** The message with its status history and the provider's own object. */
export async function findMessageWithHistory(
  db: Kysely<Database>,
  id: string,
): Promise<MessageWithHistory | undefined> {
  const view = await findMessage(db, id)
  if (view === undefined) return undefined
  const [statuses, payload] = await Promise.all([
    readStatusHistory(db, view.wa_message_id),
    readPayload(db, view.id),
  ])
  return { ...view, statuses, payload }
}

/** In the order in which the statuses occurred. */
async function readStatusHistory(db: Kysely<Database>, waMessageId: string | null): Promise<StatusView[]> {
  if (waMessageId === null) return []
  const { rows } = await sql<StatusRow>`
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

type StatusRow = Pick<StatusView, 'status' | 'participant' | 'errors'> & {
  occurred_at: Date | null
  received_at: Date
}

/** Read as text, because the driver would round large numbers. `raw` is the exact text when jsonb could not hold it. */
async function readPayload(db: Kysely<Database>, id: string): Promise<unknown> {
  const { rows } = await sql<{ payload: string | null; raw: Buffer | null }>`
    SELECT payload::text AS payload, raw FROM chat_messages WHERE id = ${id}::bigint`.execute(db)
  const text = rows[0]?.raw?.toString('utf8') ?? rows[0]?.payload
  return text === undefined || text === null ? null : parseExact(text)
}
