/** Removes what of the feed of changes nobody is expected to ask for any more. */
import { type Kysely, sql } from 'kysely'
import type { Database } from './schema.ts'

/** In one transaction, which holds up the feed while it runs. */
const BATCH = 5_000

/**
 * Removes changes older than `keepMs`, oldest first, and remembers up to where: a cursor from before that is refused
 * instead of reading over the gap. Returns how many; to be called until it returns 0.
 */
export async function pruneChanges(db: Kysely<Database>, keepMs: number): Promise<number> {
  const { rows } = await sql<{ count: string }>`
    WITH oldest AS (
      SELECT xid, id, created_at FROM changes
      WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, id LIMIT ${BATCH}
    ), last AS (
      SELECT xid, id FROM oldest WHERE created_at < now() - ${keepMs} * interval '1 millisecond'
      ORDER BY xid DESC, id DESC LIMIT 1
    ), removed AS (
      DELETE FROM changes c USING last WHERE (c.xid, c.id) <= (last.xid, last.id) RETURNING 1
    ), moved AS (
      UPDATE changes_horizon h SET xid = last.xid, id = last.id FROM last WHERE (last.xid, last.id) > (h.xid, h.id)
    )
    SELECT count(*) AS count FROM removed`.execute(db)
  return Number(rows[0]?.count ?? 0)
}
