/** Moves the messages of merged conversations, in one process at a time. */
import { randomUUID } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { moveMergedMessages } from '../db/contacts/move-messages.ts'
import { holdLease, releaseLease } from '../db/leases.ts'
import type { Database } from '../db/schema.ts'

/** Two processes that move at the same moment do no harm, so a lease that ends too early does none either. */
const LEASE_MS = 60_000

export type MessageMover = {
  /** Call it every second. Returns how many messages were moved. */
  runOnce(signal?: AbortSignal): Promise<number>
}

export function createMessageMover({ db }: { db: Kysely<Database> }): MessageMover {
  const lease = { name: 'message-mover', holder: randomUUID() }
  return {
    runOnce: async (signal) => {
      if (!(await hasMergedMessages(db))) return 0
      if (!(await holdLease(db, { ...lease, durationMs: LEASE_MS }))) return 0
      try {
        return await moveMergedMessages(db, signal)
      } finally {
        await releaseLease(db, lease)
      }
    },
  }
}

async function hasMergedMessages(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql`SELECT FROM conversations WHERE moving_since IS NOT NULL LIMIT 1`.execute(db)
  return rows.length > 0
}
