/** Prunes the feed of changes. */
import { randomUUID } from 'node:crypto'
import type { Kysely } from 'kysely'
import { holdLease } from '../db/leases.ts'
import { pruneChanges } from '../db/prune-changes.ts'
import type { Database } from '../db/schema.ts'

const MINUTE = 60_000
/** A reader that was away for longer has to read the conversations again. */
const KEEP_MS = 30 * 24 * 60 * MINUTE
const LEASE_MS = 2 * MINUTE

export type ChangePruner = {
  /** Call it every few minutes; one process does it at a time. Returns how many changes were removed. */
  runOnce(signal?: AbortSignal): Promise<number>
}

export function createChangePruner({ db }: { db: Kysely<Database> }): ChangePruner {
  const holder = randomUUID()
  return {
    runOnce: async (signal) => {
      let total = 0
      while (
        !signal?.aborted &&
        (await holdLease(db, { name: 'change-pruner', holder, durationMs: LEASE_MS }))
      ) {
        const removed = await pruneChanges(db, KEEP_MS)
        if (removed === 0) break
        total += removed
      }
      return total
    },
  }
}
