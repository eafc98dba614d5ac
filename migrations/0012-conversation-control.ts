/** Who has control of a conversation, where several apps share a number. */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // All null: nothing has been said about control. confirmed_at: the provider's time of the newest event that said it.
  await sql`
    ALTER TABLE conversations ADD COLUMN control_holder text, ADD COLUMN control_role text,
      ADD COLUMN control_at timestamptz, ADD COLUMN control_confirmed_at timestamptz`.execute(db)
}
