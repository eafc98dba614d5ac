/** How far the back-fill of a provider's messages has come. */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  // position: everything that the provider's list has before this time has been taken. started_at: when a scheduled run
  // last began, so that of several workers one begins the next.
  `CREATE TABLE backfill_positions (
    provider text NOT NULL,
    account text NOT NULL,
    position timestamptz,
    started_at timestamptz,
    CONSTRAINT backfill_positions_pkey PRIMARY KEY (provider, account)
  )`,
]
