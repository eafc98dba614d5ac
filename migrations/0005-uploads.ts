/** Files that were uploaded to be sent. The bytes are in MEDIA_DIR, named after the id. */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  `CREATE TABLE uploads (
    id uuid NOT NULL CONSTRAINT uploads_pkey PRIMARY KEY,
    mime_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    filename text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
  )`,
  // The same file, uploaded again because the answer was lost, is the same upload.
  `CREATE UNIQUE INDEX uploads_content_unique ON uploads (sha256, mime_type, coalesce(filename, ''))`,
  `CREATE INDEX uploads_expires_at_idx ON uploads (expires_at)`,
  // What a provider has of an upload, for a provider that wants files before they are sent. copying_until: a worker is
  // at it.
  `CREATE TABLE upload_copies (
    upload_id uuid NOT NULL CONSTRAINT upload_copies_upload_id_fkey REFERENCES uploads (id) ON DELETE CASCADE,
    provider text NOT NULL,
    business_number text NOT NULL,
    media_id text,
    copied_at timestamptz,
    copying_until timestamptz,
    CONSTRAINT upload_copies_pkey PRIMARY KEY (upload_id, provider, business_number)
  )`,
]
