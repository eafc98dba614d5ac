/**
 * Creating an outbound message: one row for each idempotency key, with everything that the worker needs to send it.
 *
 * The unique index on client_message_id lets one of many equal requests insert the row, and the others find it. The row is
 * the order to send; the job that is queued afterwards only points at it.
 */
import { randomUUID } from 'node:crypto'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import { detailOf } from '../../core/fact.ts'
import { scrubText, toJsonbText } from '../../core/json-text.ts'
import { countCharacters } from '../../core/message-limits.ts'
import type { OutboundContent, OutboundRequest, Recipient, Upload } from '../../core/outbound.ts'
import { canBeSentAs } from '../../core/upload.ts'
import { announce } from '../announce.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import type { SenderRules } from './choose-sender.ts'
import { placeOutbound, type Refusal, type Refused } from './place.ts'
import { renewUpload } from './uploads.ts'

export type OutboundOptions = SenderRules & {
  /** Becomes client_message_id. */
  idempotencyKey: string
  /** Digest of the request. The same key with another digest is a conflict. */
  requestHash: string
  /** The reason for which a provider takes no such upload; undefined when it does. */
  refuseUpload?: (provider: ProviderName, upload: Upload) => Refusal | undefined
  /** The longest text of providers that do not take what the API takes, in characters. */
  maxTextLengths?: Readonly<Partial<Record<ProviderName, number>>>
}

export type CreateOutcome =
  | { kind: 'created' | 'existing'; message_id: string }
  /** `message_id` has the key, and was made by another request. */
  | { kind: 'conflict'; message_id: string }
  | Refused

/** The column `chat_messages.request`. */
export type StoredRequest = {
  content: OutboundContent
  to?: Recipient | undefined
  reply_to_message_id?: string | undefined
}

/**
 * Inserts the message as `queued`, announces it, and moves its conversation up. Finds the message where the key is known.
 * Safe to repeat.
 */
export async function createOutboundMessage(
  db: Kysely<Database>,
  request: OutboundRequest,
  options: OutboundOptions,
): Promise<CreateOutcome> {
  return retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      const known = await findByKey(trx, options)
      if (known !== undefined) return known
      const place = await placeOutbound(trx, request, options)
      if (place.kind === 'refused') return place
      const { provider: _, to, conversation_id: __, reply_to_message_id, ...content } = request
      if (isTooLong(content, options.maxTextLengths?.[place.provider]))
        return { kind: 'refused', reason: 'text_too_long' }
      const upload = await renewUpload(trx, content)
      const refusal = upload === undefined ? undefined : refuse(content, place.provider, upload, options)
      if (refusal !== undefined) return { kind: 'refused', reason: refusal }
      const stored: StoredRequest = { content: withUpload(content, upload), to, reply_to_message_id }
      return insertOnce(trx, { ...place, stored }, options)
    }),
  )
}

function isTooLong(content: OutboundContent, maxLength = Number.POSITIVE_INFINITY): boolean {
  return content.type === 'text' && countCharacters(content.text) > maxLength
}

function refuse(
  content: OutboundContent,
  provider: ProviderName,
  upload: Upload | null,
  { refuseUpload }: OutboundOptions,
): Refusal | undefined {
  if (upload === null) return 'upload_not_found'
  if ('media' in content && !canBeSentAs(upload.mime_type, content.type)) return 'upload_type'
  return refuseUpload?.(provider, upload)
}

/** Fills the type and name of the file in, where the request does not give a name. */
function withUpload(content: OutboundContent, upload: Upload | null | undefined): OutboundContent {
  if (!upload || !('media' in content)) return content
  const { mime_type, filename } = upload
  return { ...content, media: { filename: filename ?? undefined, ...content.media, mime_type } }
}

export type KeyOptions = Pick<OutboundOptions, 'idempotencyKey' | 'requestHash'>

export async function findByKey(
  trx: Transaction<Database>,
  { idempotencyKey, requestHash }: KeyOptions,
): Promise<CreateOutcome | undefined> {
  const row = await trx
    .selectFrom('chat_messages')
    .select(['id', 'request_hash'])
    .where('client_message_id', '=', scrubText(idempotencyKey))
    .executeTakeFirst()
  if (row === undefined) return undefined
  return { kind: row.request_hash === requestHash ? 'existing' : 'conflict', message_id: row.id }
}

type NewRow = {
  conversation_id: string
  provider: string
  reply_to_wa_message_id: string | null
  target_wa_message_id: string | null
  stored: StoredRequest
  resend_of?: string
}

/**
 * Inserts the row unless the key is taken. Waits for another transaction that inserts the same key, and finds its row.
 */
export async function insertOnce(
  trx: Transaction<Database>,
  row: NewRow,
  options: KeyOptions,
): Promise<CreateOutcome> {
  const id = await insertOutbound(trx, row, options)
  if (id !== undefined) return { kind: 'created', message_id: id }
  const known = await findByKey(trx, options)
  if (known !== undefined) return known
  const resend = await trx
    .selectFrom('chat_messages')
    .select('id')
    .where('resend_of', '=', row.resend_of ?? null)
    .executeTakeFirst()
  if (resend !== undefined) return { kind: 'existing', message_id: resend.id }
  throw new Error('a message was refused by an index that no row explains: run it again')
}

async function insertOutbound(
  trx: Transaction<Database>,
  { conversation_id, provider, stored, resend_of, ...links }: NewRow,
  { idempotencyKey, requestHash }: KeyOptions,
): Promise<string | undefined> {
  const { type, text, media } = shownContent(stored.content)
  const { rows } = await sql<{ id: string }>`
    WITH inserted AS (
      INSERT INTO chat_messages (conversation_id, direction, provider, client_message_id, callback_id, source, detail,
        message_type, content, status, reply_to_wa_message_id, target_wa_message_id, media_id, media_url,
        media_mime_type, media_filename, media_voice, request, request_hash, resend_of)
      VALUES (${conversation_id}, 'outbound', ${provider}, ${scrubText(idempotencyKey)}, ${randomUUID()}, 'api',
        ${detailOf('api', false)}, ${type}, ${text}, 'queued', ${links.reply_to_wa_message_id},
        ${links.target_wa_message_id}, ${media.id ?? null}, ${media.url ?? null}, ${media.mime_type ?? null},
        ${media.filename ?? null}, ${media.voice ?? null}, ${toJsonbText(JSON.stringify(stored)).text}::jsonb,
        ${requestHash}, ${resend_of ?? null})
      ON CONFLICT DO NOTHING
      RETURNING id, conversation_id, created_at
    ), touched AS (
      UPDATE conversations c SET last_message_at = greatest(c.last_message_at, inserted.created_at)
      FROM inserted WHERE c.id = inserted.conversation_id
    ), announced AS (${announce('message.created', 'inserted')}
    ), original AS (
      SELECT m.id, m.conversation_id FROM chat_messages m, inserted WHERE m.id = ${resend_of ?? null}::bigint
    ), announced_original AS (${announce('message.updated', 'original')})
    SELECT id FROM inserted`.execute(trx)
  return rows[0]?.id
}

/** Values for the columns that received messages use too. */
function shownContent(content: OutboundContent) {
  const media = 'media' in content ? content.media : {}
  return { type: content.type, text: shownText(content), media }
}

function shownText(content: OutboundContent): string | null {
  if (content.type === 'text') return scrubText(content.text)
  if (content.type === 'reaction')
    return content.reaction.emoji === '' ? null : scrubText(content.reaction.emoji)
  if (content.type === 'template') return content.template.name ?? content.template.content_sid ?? null
  return content.media.caption === undefined ? null : scrubText(content.media.caption)
}
