/** Moves the messages of merged conversations, in one process at a time. */
import { randomUUID } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { moveMergedMessages } from '../db/contacts/move-messages.ts'
import { holdLease, releaseLease } from '../db/leases.ts'
import type { Database } from '../db/schema.ts'

/** How long others wait after a process that moved was killed. Two that move at the same moment do no harm. */
const LEASE_MS = 10_000
const RENEW_MS = 4_000

export type MessageMover = {
  /** Call it every second. Returns how many messages were moved. */
  runOnce(signal?: AbortSignal): Promise<number>
}

export function createMessageMover({ db }: { db: Kysely<Database> }): MessageMover {
  const lease = { name: 'message-mover', holder: randomUUID() }
  return {
    runOnce: async (signal) => {
      let total = 0
      for (let moved = 1; moved > 0 && !signal?.aborted && (await hasMergedMessages(db)); total += moved) {
        if (!(await holdLease(db, { ...lease, durationMs: LEASE_MS }))) return total
        const renewal = AbortSignal.timeout(RENEW_MS)
        moved = await moveMergedMessages(db, signal ? AbortSignal.any([signal, renewal]) : renewal)
      }
      if (total > 0) await releaseLease(db, lease)
      return total
    },
  }
}

async function hasMergedMessages(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql`SELECT FROM conversations WHERE moving_since IS NOT NULL LIMIT 1`.execute(db)
  return rows.length > 0
}
