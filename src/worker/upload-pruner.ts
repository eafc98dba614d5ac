/**
 * Prunes uploads that no message has used for 30 days, and files without a row: a process that died while it received a file
 * left them. The row is deleted before the file, so that there is never a row without its file.
 */
import { randomUUID } from 'node:crypto'
import { readdir, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Kysely } from 'kysely'
import { holdLease } from '../db/leases.ts'
import { findExistingUploads, removeExpiredUploads } from '../db/outbox/uploads.ts'
import type { Database } from '../db/schema.ts'

/** Of a file without a row. Longer than receiving a file can take. */
const MIN_AGE_MS = 24 * 60 * 60_000
const LEASE_MS = 5 * 60_000
const BATCH = 1_000

/** Names that the API gives to files. Other files in the folder are left alone. */
const OUR_FILE = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.part)?$/

export type UploadPruner = {
  /** Call it every hour; one process does it at a time. Returns how many files were removed. */
  runOnce(signal?: AbortSignal): Promise<number>
}

export function createUploadPruner({
  db,
  uploadFolder,
}: {
  db: Kysely<Database>
  uploadFolder: string
}): UploadPruner {
  const holder = randomUUID()
  return {
    runOnce: async (signal) => {
      if (!(await holdLease(db, { name: 'upload-pruner', holder, durationMs: LEASE_MS }))) return 0
      const expired = await removeExpiredUploads(db)
      await removeFiles(uploadFolder, expired)
      const ours = (await listFolder(uploadFolder)).filter((name) => OUR_FILE.test(name))
      let removed = expired.length
      for (let start = 0; start < ours.length && !signal?.aborted; start += BATCH) {
        const left = await findLeft(db, uploadFolder, ours.slice(start, start + BATCH))
        await removeFiles(uploadFolder, left)
        removed += left.length
      }
      return removed
    },
  }
}

/** The files without a row that are too old to be about to get one. */
async function findLeft(db: Kysely<Database>, folder: string, names: string[]): Promise<string[]> {
  const known = await findExistingUploads(
    db,
    names.map((name) => OUR_FILE.exec(name)?.[1] ?? ''),
  )
  const strange = names.filter((name) => !known.has(name))
  const ages = await Promise.all(strange.map((name) => ageOf(path.join(folder, name))))
  return strange.filter((_, i) => (ages[i] ?? 0) > MIN_AGE_MS)
}

async function ageOf(file: string): Promise<number | undefined> {
  const found = await stat(file).catch(() => undefined)
  return found === undefined ? undefined : Date.now() - found.mtimeMs
}

async function listFolder(folder: string): Promise<string[]> {
  return readdir(folder).catch((err: NodeJS.ErrnoException) => {
    if (err.code === 'ENOENT') return []
    throw err
  })
}

async function removeFiles(folder: string, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => rm(path.join(folder, name), { force: true })))
}
