import { type Kysely, sql } from 'kysely'
import { readCounts } from '../counters.ts'
import type { Database } from '../schema.ts'

/** Totals since the database was created; `duplicates.queue` is approximate, `unknown_sends` is the present number. */
export type Stats = {
  /** Events that reached the queue or the database, redeliveries included. */
  received: number
  stored: number
  duplicates: { queue: number; database: number }
  merged: number
  parked: number
  /** In-doubt sends: they may or may not have reached the provider. */
  unknown_sends: number
}

export async function readStats(db: Kysely<Database>): Promise<Stats> {
  const counts = await readCounts(db)
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM chat_messages WHERE status = 'unknown' AND direction = 'outbound'`.execute(
    db,
  )
  const { stored, duplicates_queue, duplicates_database, merged, parked } = counts
  return {
    received: stored + duplicates_queue + duplicates_database + merged + parked,
    stored,
    duplicates: { queue: duplicates_queue, database: duplicates_database },
    merged,
    parked,
    unknown_sends: Number(rows[0]?.count ?? 0),
  }
}
