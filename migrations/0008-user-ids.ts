/** What tells two people apart who had one phone number after each other: see docs/decisions/0012-user-ids-before-numbers.md. */
import { type Kysely, sql } from 'kysely'

/** Rows that are stored already get no values: their accounts are learned when they are used next. Nothing is rewritten. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE contact_identifiers
    ADD COLUMN first_linked_at timestamptz, ADD COLUMN last_linked_at timestamptz, ADD COLUMN account text`.execute(
    db,
  )
  // Only accounts in which one user id was seen, and which so belong to one portfolio. Others are their own.
  await sql`CREATE TABLE portfolio_accounts (
    account text NOT NULL CONSTRAINT portfolio_accounts_pkey PRIMARY KEY,
    portfolio text NOT NULL
  )`.execute(db)
}
