/** Conversations as the API and the dashboard show them, the one with the newest message first. */
import { type Kysely, sql } from 'kysely'
import { phoneDigits } from '../../core/phone.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'
import { type ContactView, getContact, readContactViews } from './contact.ts'
import { type MessageView, readMessageViews } from './message.ts'
import { hasEffectType, timeOf } from './message-effects.ts'
import { cutPage, type Page, type Position, positionTime } from './paging.ts'

export type ConversationView = {
  id: string
  provider: string
  business_number: string
  contact: ContactView
  /** Unread messages of the contact, counted among the newest UNREAD_WINDOW messages. */
  unread_count: number
  last_read_message_id: string | null
  last_message: MessageView | null
  last_message_at: string | null
  /** Where several apps share the number: which one answers here. Null where the provider has said nothing about it. */
  control: ControlView | null
  created_at: string
}

export type ControlView = {
  /** `self`: this app. `other`: another one, such as Meta Business Agent. */
  holder: 'self' | 'other'
  /** The holder's role in the provider's words. */
  role: string | null
  /** The provider's time. */
  since: string
}

export type ConversationQuery = {
  limit: number
  after?: Position | undefined
  /** Part of a name, a username or a phone number (in any notation). */
  search?: string | undefined
}

/** Bounds the work for a conversation that is never marked as read. */
export const UNREAD_WINDOW = 1_000

type Row = {
  id: string
  provider: string
  business_number: string
  contact_id: string
  unread_count: number
  last_read_message_id: string
  last_message_id: string | null
  last_message_at: Date | null
  time: string
  control_holder: 'self' | 'other' | null
  control_role: string | null
  control_at: Date | null
  created_at: Date
}

/** Conversations that have a message, without merged ones. */
export async function listConversations(
  db: Kysely<Database>,
  { limit, after, search }: ConversationQuery,
): Promise<Page<ConversationView>> {
  const beyond =
    after === undefined
      ? sql`true`
      : sql`(v.last_message_at, v.id) < (${after.time}::timestamptz, ${after.id}::bigint)`
  const { rows } = await sql<Row>`
    ${withDetails(sql`
      SELECT v.* FROM conversations v
      WHERE v.merged_into IS NULL AND v.last_message_at IS NOT NULL AND ${beyond} AND ${matching(search)}
      ORDER BY v.last_message_at DESC NULLS LAST, v.id DESC LIMIT ${limit + 1}`)}
    ORDER BY v.last_message_at DESC NULLS LAST, v.id DESC`.execute(db)
  const { items, next } = cutPage(rows, limit)
  return { items: await viewsOf(db, items), next }
}

/** The conversation with this id, or the one that it was merged into. */
export async function findConversation(
  db: Kysely<Database>,
  id: string,
): Promise<ConversationView | undefined> {
  const { rows } = await sql<Row>`
    ${withDetails(sql`
      SELECT v.* FROM conversations asked JOIN conversations v ON v.id = coalesce(asked.merged_into, asked.id)
      WHERE asked.id = ${id}::bigint`)}`.execute(db)
  return (await viewsOf(db, rows))[0]
}

/** SQL: adds the last message and the number of unread ones, each found through an index. */
function withDetails(conversations: ReturnType<typeof sql>) {
  return sql`
    SELECT v.id, v.provider, v.business_number, v.contact_id, v.last_read_message_id, v.last_message_at,
      ${positionTime(sql`v.last_message_at`)} AS time, v.created_at, v.control_holder, v.control_role, v.control_at,
      l.id AS last_message_id, u.unread_count
    FROM (${conversations}) v
    LEFT JOIN LATERAL (
      SELECT n.id FROM ${partsOf(sql`v.id`)} part CROSS JOIN LATERAL (
        SELECT m.id, ${timeOf('m')} AS happened_at FROM chat_messages m WHERE m.conversation_id = part.id
        ORDER BY ${timeOf('m')} DESC, m.id DESC LIMIT 1
      ) n
      ORDER BY n.happened_at DESC, n.id DESC LIMIT 1
    ) l ON true
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE ${countsAsUnread('n')})::integer AS unread_count FROM (
        SELECT newest.* FROM ${partsOf(sql`v.id`)} part CROSS JOIN LATERAL (
          SELECT m.id, m.direction, m.source, m.message_type FROM chat_messages m
          WHERE m.conversation_id = part.id AND m.id > v.last_read_message_id ORDER BY m.id DESC LIMIT ${UNREAD_WINDOW}
        ) newest
        ORDER BY newest.id DESC LIMIT ${UNREAD_WINDOW}
      ) n
    ) u`
}

/** SQL: messages from the history of the phone app, reactions, edits and revokes are never unread. */
function countsAsUnread(alias: string) {
  return sql`${sql.ref(`${alias}.direction`)} = 'inbound' AND ${sql.ref(`${alias}.source`)} <> 'history'
    AND NOT ${hasEffectType(alias)}`
}

function matching(search: string | undefined) {
  if (search === undefined) return sql`true`
  const digits = phoneDigits(search)
  return sql`EXISTS (
    SELECT FROM contacts p WHERE p.id = v.contact_id AND (
      p.name ILIKE ${containing(search)} OR p.username ILIKE ${containing(search)}
      OR p.phone LIKE ${digits === undefined ? null : containing(digits)}
    )
  )`
}

function containing(text: string): string {
  return `%${text.replace(/[\\%_]/g, '\\$&')}%`
}

function controlOf({ control_holder, control_role, control_at }: Row): ControlView | null {
  if (control_holder === null || control_at === null) return null
  return { holder: control_holder, role: control_role, since: control_at.toISOString() }
}

async function viewsOf(db: Kysely<Database>, rows: readonly Row[]): Promise<ConversationView[]> {
  const [contacts, messages] = await Promise.all([
    readContactViews(
      db,
      rows.map((row) => row.contact_id),
    ),
    readMessageViews(
      db,
      rows.flatMap((row) => row.last_message_id ?? []),
    ),
  ])
  return rows.map((row) => ({
    id: row.id,
    provider: row.provider,
    business_number: row.business_number,
    contact: getContact(contacts, row.contact_id),
    unread_count: row.unread_count,
    last_read_message_id: row.last_read_message_id === '0' ? null : row.last_read_message_id,
    last_message: messages.get(row.last_message_id ?? '') ?? null,
    last_message_at: row.last_message_at?.toISOString() ?? null,
    control: controlOf(row),
    created_at: row.created_at.toISOString(),
  }))
}
