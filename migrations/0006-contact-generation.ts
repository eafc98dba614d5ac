/** What tells the writers that contacts they remember may be somebody else by now. */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // A sequence and no row: it can be read past all locks and snapshots, and moves even where the merge is taken back.
  await sql`CREATE SEQUENCE contact_generation`.execute(db)
}
