/** Lets a file be the trial of a circuit breaker, and finds messages that are refused while others of their sender pass. */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // trial: of the claim that tries at the moment; another one after each start. suspect: the message whose refusals alone keep
  // the breaker open.
  await sql`ALTER TABLE send_pauses ADD COLUMN trial uuid, ADD COLUMN suspect bigint`.execute(db)
  // has_other_passed: since the last refusal of this message. times_alone: its refusals while others passed.
  await sql`
    CREATE TABLE send_refusals (
      message_id bigint NOT NULL,
      provider text NOT NULL,
      business_number text NOT NULL,
      has_other_passed boolean NOT NULL DEFAULT false,
      times_alone integer NOT NULL DEFAULT 0,
      updated_at timestamptz NOT NULL,
      CONSTRAINT send_refusals_pkey PRIMARY KEY (message_id)
    )`.execute(db)
}
