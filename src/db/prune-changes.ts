/** Prunes the feed of changes. */
import { type Kysely, sql } from 'kysely'
import type { Database } from './schema.ts'

/** Rows per transaction. While it runs, the feed does not advance. */
const BATCH = 5_000

/**
 * Deletes changes older than `keepMs`, oldest first, and stores the last one in `changes_horizon`: the feed refuses a cursor
 * before it, which would skip the deleted changes. Returns the number of deleted rows; call it until it returns 0.
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
