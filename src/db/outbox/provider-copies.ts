/**
 * Copies of uploads at a provider that wants a file before the message that shows it (Meta). Table upload_copies.
 *
 * A file is copied while its message is `queued`. Copying sends nothing to the contact, so a worker that dies meanwhile
 * leaves a message that was certainly not sent. A claim lets one worker at a time copy a file for one of our numbers; a
 * second copy would do no harm.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { OutboundMessage } from '../../core/outbound.ts'
import { PROVIDER_COPY } from '../../core/send-policy.ts'
import type { Database } from '../schema.ts'
import { findUpload } from './uploads.ts'

/**
 * - `ready`: the message can be sent; it has its upload and the provider's id of the copy
 * - `needs_copy`: the provider wants a copy first; the message has its upload
 * - `gone`: the upload was removed
 */
export type CopyState = { kind: 'ready' | 'needs_copy'; message: OutboundMessage } | { kind: 'gone' }

/** `copiesTo`: names of the providers that want copies. */
export async function attachProviderCopy(
  trx: Transaction<Database>,
  message: OutboundMessage,
  copiesTo: readonly string[],
): Promise<CopyState> {
  const { content } = message
  if (!('media' in content) || content.media.upload_id === undefined) return { kind: 'ready', message }
  const upload = await findUpload(trx, content.media.upload_id)
  if (upload === undefined) return { kind: 'gone' }
  const withUpload = { ...message, upload }
  if (!copiesTo.includes(message.provider)) return { kind: 'ready', message: withUpload }
  const id = await findCopy(trx, withUpload)
  if (id === undefined) return { kind: 'needs_copy', message: withUpload }
  return {
    kind: 'ready',
    message: { ...withUpload, content: { ...content, media: { ...content.media, id } } },
  }
}

async function findCopy(
  trx: Transaction<Database>,
  { provider, business_number, upload }: OutboundMessage,
): Promise<string | undefined> {
  const { rows } = await sql<{ media_id: string }>`
    SELECT media_id FROM upload_copies
    WHERE upload_id = ${upload?.id} AND provider = ${provider} AND business_number = ${business_number}
      AND media_id IS NOT NULL AND copied_at > now() - ${PROVIDER_COPY.maxAgeDays} * interval '1 day'`.execute(
    trx,
  )
  return rows[0]?.media_id
}

/** False: another worker copies the file, or has just done so. */
export async function claimProviderCopy(
  trx: Transaction<Database>,
  { provider, business_number, upload }: OutboundMessage,
): Promise<boolean> {
  const { rows } = await sql`
    INSERT INTO upload_copies AS c (upload_id, provider, business_number, copying_until)
    VALUES (${upload?.id}, ${provider}, ${business_number},
      clock_timestamp() + ${PROVIDER_COPY.claimMs} * interval '1 millisecond')
    ON CONFLICT ON CONSTRAINT upload_copies_pkey DO UPDATE SET copying_until = excluded.copying_until
    WHERE coalesce(c.copying_until < clock_timestamp(), true)
      -- Another worker may have finished since this transaction looked for its copy.
      AND coalesce(c.copied_at <= now() - ${PROVIDER_COPY.maxAgeDays} * interval '1 day', true)
    RETURNING upload_id`.execute(trx)
  return rows.length > 0
}

/** Call it every few seconds while copying: a claim that is not extended passes to another worker. */
export async function extendCopyClaim(db: Kysely<Database>, message: OutboundMessage): Promise<void> {
  await setCopy(
    db,
    message,
    sql`copying_until = clock_timestamp() + ${PROVIDER_COPY.claimMs} * interval '1 millisecond'`,
  )
}

/** Stores the provider's id of the copy and ends the claim. */
export async function storeCopy(
  db: Kysely<Database> | Transaction<Database>,
  message: OutboundMessage,
  mediaId: string,
): Promise<void> {
  await setCopy(db, message, sql`media_id = ${mediaId}, copied_at = clock_timestamp(), copying_until = NULL`)
}

/** Ends the claim without a copy: another worker may copy at once. */
export async function releaseCopyClaim(
  db: Kysely<Database> | Transaction<Database>,
  message: OutboundMessage,
): Promise<void> {
  await setCopy(db, message, sql`copying_until = NULL`)
}

/**
 * For a message that the provider refused: its copy may be the reason, so the next message with the file makes a new
 * one.
 */
export async function discardCopy(db: Kysely<Database>, message: OutboundMessage): Promise<void> {
  if (message.upload !== undefined) await setCopy(db, message, sql`media_id = NULL, copied_at = NULL`)
}

async function setCopy(
  db: Kysely<Database> | Transaction<Database>,
  { provider, business_number, upload }: OutboundMessage,
  assignments: ReturnType<typeof sql>,
): Promise<void> {
  await sql`
    UPDATE upload_copies SET ${assignments}
    WHERE upload_id = ${upload?.id} AND provider = ${provider} AND business_number = ${business_number}`.execute(
    db,
  )
}
