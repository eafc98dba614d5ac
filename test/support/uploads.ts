/** Uploads as the API leaves them: a file in the folder, and its row. */
import { createHash, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Kysely } from 'kysely'
import type { Upload } from '../../src/core/outbound.ts'
import { storeUpload } from '../../src/db/outbox/uploads.ts'
import type { Database } from '../../src/db/schema.ts'

/** `content`: also what tells two uploads apart. */
export async function storeFile(
  { db, uploadFolder }: { db: Kysely<Database>; uploadFolder: string },
  content: string,
  { mime_type = 'application/pdf', filename = 'bill.pdf' }: Partial<Upload> = {},
): Promise<Upload & { file: string }> {
  const id = randomUUID()
  const file = path.join(uploadFolder, id)
  writeFileSync(file, content)
  const sha256 = createHash('sha256').update(content).digest('hex')
  const upload = { id, mime_type, filename, sha256, size_bytes: Buffer.byteLength(content) }
  return { ...(await storeUpload(db, upload)), file }
}
