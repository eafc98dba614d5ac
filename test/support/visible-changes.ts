import { type Kysely, sql } from 'kysely'
import type { Database } from '../../src/db/schema.ts'
import { eventually } from './eventually.ts'

/** Waits until the feed shows every committed change. An open transaction of another test, in another database, delays it too. */
export async function waitForVisibleChanges(db: Kysely<Database>): Promise<void> {
  await eventually(async () => {
    const { rows } = await sql`
      SELECT FROM changes WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()) LIMIT 1`.execute(db)
    if (rows.length > 0) throw new Error('an older transaction still runs')
  })
}
