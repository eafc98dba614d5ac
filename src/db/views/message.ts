/** Messages as the API and the dashboard show them: the row with its contacts, links to other messages, and effects. */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../schema.ts'
import { type ContactView, getContact, readContactViews } from './contact.ts'
import { type MediaColumns, type MediaView, mediaOf } from './media.ts'
import { type MessageEffects, type ReactionView, readEffects } from './message-effects.ts'

/** Times are ISO 8601 in UTC; ids are strings. */
export type MessageView = {
  id: string
  conversation_id: string
  direction: 'inbound' | 'outbound'
  provider: string
  /** Meta: phone_number_id. Twilio: our address, digits only. */
  business_number: string
  wa_message_id: string | null
  client_message_id: string | null
  message_type: string
  /** The text as it is shown: that of the latest edit if there is one; null after a revoke. */
  content: string | null
  /** Null for inbound messages. */
  status: string | null
  /** The provider's errors. */
  error: unknown[] | null
  /** Our ids of other messages; null when there is none, or when it is not stored. */
  reply_to: string | null
  target: string | null
  resend_of: string | null
  resent_as: string | null
  sent_at: string | null
  received_at: string | null
  created_at: string
  updated_at: string
  source: string
  /** The person or group of the conversation. */
  contact: ContactView
  /** In a group: the contact who wrote it. */
  sender: ContactView | null
  media: MediaView[]
  reactions: ReactionView[]
  edited_at: string | null
  revoked_at: string | null
  forwarded: boolean
  frequently_forwarded: boolean
  /** The advertisement or post that led the person to this conversation, as the provider sends it. */
  referral: unknown
}

type Row = MediaColumns & {
  id: string
  conversation_id: string
  direction: 'inbound' | 'outbound'
  provider: string
  business_number: string
  wa_message_id: string | null
  client_message_id: string | null
  message_type: string
  content: string | null
  status: string | null
  error: unknown
  reply_to: string | null
  target: string | null
  resend_of: string | null
  resent_as: string | null
  sent_at: Date | null
  received_at: Date | null
  created_at: Date
  updated_at: Date
  source: string
  contact_id: string
  sender_id: string | null
  forwarded: boolean
  frequently_forwarded: boolean
  referral: unknown
}

/** Messages by id; unknown ids are left out. */
export async function readMessageViews(
  db: Kysely<Database>,
  ids: readonly string[],
): Promise<Map<string, MessageView>> {
  if (ids.length === 0) return new Map()
  const rows = await readRows(db, [...new Set(ids)])
  const [contacts, effects] = await Promise.all([
    readContactViews(
      db,
      rows.flatMap(({ contact_id, sender_id }) => [contact_id, sender_id ?? contact_id]),
    ),
    readEffects(
      db,
      rows.flatMap((row) => row.wa_message_id ?? []),
    ),
  ])
  return new Map(rows.map((row) => [row.id, viewOf(row, contacts, effects.get(row.wa_message_id ?? ''))]))
}

/**
 * The joins on wa_message_id repeat the predicate of its unique index; without it PostgreSQL would not use the index. The
 * message that an outbound one answers may have no wa_message_id yet: then its id is in the request.
 */
async function readRows(db: Kysely<Database>, ids: readonly string[]): Promise<Row[]> {
  const { rows } = await sql<Row>`
    SELECT m.id, v.id AS conversation_id, m.direction, m.provider, v.business_number, m.wa_message_id, m.client_message_id,
      m.message_type, m.content, m.status, m.error, m.resend_of, x.id AS resent_as, m.sent_at,
      coalesce(r.id, (m.request ->> 'reply_to_message_id')::bigint) AS reply_to,
      coalesce(t.id, (m.request #>> '{content,reaction,message_id}')::bigint) AS target,
      m.received_at, m.created_at, m.updated_at, m.source, v.contact_id, coalesce(s.merged_into, s.id) AS sender_id,
      m.media_id, m.media_url, m.media_mime_type, m.media_sha256, m.media_filename, m.media_voice, m.media,
      m.forwarded, m.frequently_forwarded, m.referral
    FROM chat_messages m
    JOIN conversations o ON o.id = m.conversation_id
    JOIN conversations v ON v.id = coalesce(o.merged_into, o.id)
    LEFT JOIN contacts s ON s.id = m.sender_contact_id
    LEFT JOIN chat_messages r ON r.wa_message_id = m.reply_to_wa_message_id
      AND r.wa_message_id IS NOT NULL AND r.wa_message_id <> ''
    LEFT JOIN chat_messages t ON t.wa_message_id = m.target_wa_message_id
      AND t.wa_message_id IS NOT NULL AND t.wa_message_id <> ''
    LEFT JOIN chat_messages x ON x.resend_of = m.id
    WHERE m.id = ANY (${ids}::bigint[])`.execute(db)
  return rows
}

function viewOf(
  row: Row,
  contacts: ReadonlyMap<string, ContactView>,
  effects: MessageEffects = { reactions: [] },
): MessageView {
  const { edit, edited_at = null, revoked_at = null, reactions } = effects
  const isRevoked = revoked_at !== null
  return {
    id: row.id,
    conversation_id: row.conversation_id,
    direction: row.direction,
    provider: row.provider,
    business_number: row.business_number,
    wa_message_id: row.wa_message_id,
    client_message_id: row.client_message_id,
    message_type: row.message_type,
    content: isRevoked ? null : edit ? edit.content : row.content,
    status: row.status,
    error: row.error === null || Array.isArray(row.error) ? row.error : [row.error],
    reply_to: row.reply_to,
    target: row.target,
    resend_of: row.resend_of,
    resent_as: row.resent_as,
    sent_at: isoTime(row.sent_at),
    received_at: isoTime(row.received_at),
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    source: row.source,
    contact: getContact(contacts, row.contact_id),
    sender: row.sender_id === null ? null : getContact(contacts, row.sender_id),
    media: isRevoked ? [] : edit && edit.media.length > 0 ? edit.media : mediaOf(row),
    reactions,
    edited_at,
    revoked_at,
    forwarded: row.forwarded,
    frequently_forwarded: row.frequently_forwarded,
    referral: row.referral,
  }
}

function isoTime(time: Date | null): string | null {
  return time === null ? null : time.toISOString()
}
