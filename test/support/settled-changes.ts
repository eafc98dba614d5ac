import { type Kysely, sql } from 'kysely'
import type { Database } from '../../src/db/schema.ts'
import { eventually } from './eventually.ts'

/** Waits until the feed shows everything that is committed: a transaction in a neighbour's database holds it up too. */
export async function settle(db: Kysely<Database>): Promise<void> {
  await eventually(async () => {
    const { rows } = await sql`
      SELECT FROM changes WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()) LIMIT 1`.execute(db)
    if (rows.length > 0) throw new Error('an older transaction still runs')
  })
}
