/** Counts in-doubt results, so that a number whose provider does not answer stops sending. */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // in_a_row: since the provider's last answer to this number. is_provider_silent: nor has it answered any other number since.
  await sql`
    CREATE TABLE send_doubts (
      provider text NOT NULL,
      business_number text NOT NULL,
      in_a_row integer NOT NULL,
      is_provider_silent boolean NOT NULL,
      updated_at timestamptz NOT NULL,
      CONSTRAINT send_doubts_pkey PRIMARY KEY (provider, business_number)
    )`.execute(db)
}
