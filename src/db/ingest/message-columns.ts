/** The content columns of `chat_messages`. They are derived from the payload, so `reprocess` can derive them again. */
import { jsonbColumn, textColumn } from './payload-columns.ts'
import type { MessageItem } from './store-item.ts'

/** Names and SQL types. */
export const CONTENT_COLUMNS = {
  message_type: 'text',
  content: 'text',
  reply_to_wa_message_id: 'text',
  target_wa_message_id: 'text',
  forwarded: 'boolean',
  frequently_forwarded: 'boolean',
  referral: 'jsonb',
  media_id: 'text',
  media_url: 'text',
  media_mime_type: 'text',
  media_sha256: 'text',
  media_filename: 'text',
  media_voice: 'boolean',
  media: 'jsonb',
} as const

/** Values of the content columns; jsonb as text. */
export function contentColumns(item: MessageItem) {
  const { fact } = item
  const [media] = fact.media
  return {
    message_type: textColumn(fact.message_type),
    content: textColumn(fact.content),
    reply_to_wa_message_id: textColumn(fact.reply_to_wa_message_id),
    target_wa_message_id: textColumn(fact.target_wa_message_id),
    forwarded: fact.forwarded,
    frequently_forwarded: fact.frequently_forwarded,
    referral: jsonbColumn(item, fact.referral),
    media_id: textColumn(media?.id),
    media_url: textColumn(media?.url),
    media_mime_type: textColumn(media?.mime_type),
    media_sha256: textColumn(media?.sha256),
    media_filename: textColumn(media?.filename),
    media_voice: media?.voice ?? null,
    media: fact.media.length > 1 ? jsonbColumn(item, JSON.stringify(fact.media)) : null,
  } satisfies Record<keyof typeof CONTENT_COLUMNS, unknown>
}

/** SQL: the column definitions of a `json_to_recordset`. jsonb and bytea are text in the record. */
export function recordDefinition(columns: Readonly<Record<string, string>>): string {
  return Object.entries(columns)
    .map(([name, type]) => `${name} ${type === 'jsonb' || type === 'bytea' ? 'text' : type}`)
    .join(', ')
}

/** SQL: the value of such a column of the record `r`. */
export function fromRecord(name: string, type: string): string {
  if (type === 'jsonb') return `r.${name}::jsonb`
  if (type === 'bytea') return `decode(r.${name}, 'base64')`
  return `r.${name}`
}
