/**
 * Uploads: files that users stored here to send them. The row is inserted after the file is written and deleted before the
 * file is removed, so a row means that the file is on disk.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { OutboundContent, Upload } from '../../core/outbound.ts'
import type { Database } from '../schema.ts'

/** From the last message that uses the upload. As long as Meta keeps a copy. */
const KEEP_DAYS = 30

export type StoredUpload = Upload & { created_at: Date; expires_at: Date }

/** An upload with the same content, type and name as a stored one is that one: the result has its id. */
export async function storeUpload(db: Kysely<Database>, upload: Upload): Promise<StoredUpload> {
  const { id, mime_type, size_bytes, sha256, filename } = upload
  const { rows } = await sql<StoredUpload>`
    INSERT INTO uploads (id, mime_type, size_bytes, sha256, filename, expires_at)
    VALUES (${id}, ${mime_type}, ${size_bytes}, ${sha256}, ${filename}, now() + ${KEEP_DAYS} * interval '1 day')
    ON CONFLICT (sha256, mime_type, coalesce(filename, '')) DO UPDATE SET expires_at = excluded.expires_at
    RETURNING id, mime_type, size_bytes::float8 AS size_bytes, sha256, filename, created_at, expires_at`.execute(
    db,
  )
  const [row] = rows
  if (row === undefined) throw new Error('an upload was neither stored nor found')
  return row
}

/**
 * Finds the upload of this content and prolongs its retention. Returns undefined when the content has none, null when the
 * upload does not exist.
 */
export async function renewUpload(
  trx: Transaction<Database>,
  content: OutboundContent,
): Promise<Upload | null | undefined> {
  const id = 'media' in content ? content.media.upload_id : undefined
  if (id === undefined) return undefined
  // At most once a day, so that a thousand messages with one file do not wait for each other.
  await sql`
    UPDATE uploads SET expires_at = now() + ${KEEP_DAYS} * interval '1 day'
    WHERE id = ${id} AND expires_at < now() + ${KEEP_DAYS - 1} * interval '1 day'`.execute(trx)
  return (await findUpload(trx, id)) ?? null
}

export async function findUpload(
  db: Kysely<Database> | Transaction<Database>,
  id: string,
): Promise<Upload | undefined> {
  const { rows } = await sql<Upload>`
    SELECT id, mime_type, size_bytes::float8 AS size_bytes, sha256, filename FROM uploads WHERE id = ${id}`.execute(
    db,
  )
  return rows[0]
}

/** Deletes the rows of unused uploads and returns their ids: their files can be removed. */
export async function removeExpiredUploads(db: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    DELETE FROM uploads WHERE expires_at < now() RETURNING id`.execute(db)
  return rows.map((row) => row.id)
}

/** Those of the ids that have an upload. */
export async function findExistingUploads(
  db: Kysely<Database>,
  ids: readonly string[],
): Promise<Set<string>> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM uploads WHERE id = ANY(${ids}::uuid[])`.execute(db)
  return new Set(rows.map((row) => row.id))
}
