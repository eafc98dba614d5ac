/**
 * One advisory lock keeps people from becoming one under the hands of somebody who just looked them up.
 *
 * Whoever writes on behalf of a contact or a conversation holds it shared to the end of the transaction; whoever merges
 * or retires holds it alone. It is the first lock of a transaction, so that nobody waits for it while others wait for
 * him. Behind it, everybody takes rows in one order: identifiers by (kind, value), contacts by id, new conversations by
 * (provider, business number, contact), messages.
 */
import { sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'

/** 'wa-c' in ASCII: away from the locks of Kysely's migrator and of BullMQ. */
const LOCK_CLASS = 0x77612d63
const LOCK_ID = 1

/**
 * Keeps every contact and conversation what it is until the transaction ends. For transactions that write to rows of
 * `conversations` or `chat_messages` without `resolveContacts`, which does the same; call it before anything else.
 *
 * Gives the generation of the contacts: as long as it is the same, nobody has been merged and no identifier has changed
 * hands. It is read behind the lock, because the argument of the function has to be known first.
 */
export async function holdOffMerges(trx: Transaction<Database>): Promise<string> {
  const { rows } = await sql<{ generation: string | null }>`
    SELECT pg_sequence_last_value(
      CASE WHEN pg_advisory_xact_lock_shared(${sql.lit(LOCK_CLASS)}, ${sql.lit(LOCK_ID)}) IS NULL THEN 0::oid
      ELSE 'contact_generation'::regclass END
    ) AS generation`.execute(trx)
  return rows[0]?.generation ?? ''
}

/** To be called behind `lockForMerging` by whoever merges contacts or retires identifiers. */
export async function startContactGeneration(trx: Transaction<Database>): Promise<void> {
  await sql`SELECT nextval('contact_generation')`.execute(trx)
}

/**
 * Waits until nobody else writes for contacts, and keeps it so until the transaction ends.
 * @throws Error when the transaction already holds the lock shared and others do too: two such would wait for each other.
 */
export async function lockForMerging(trx: Transaction<Database>): Promise<void> {
  const { rows } = await sql<{ isGranted: boolean; isShared: boolean }>`
    SELECT pg_try_advisory_xact_lock(${sql.lit(LOCK_CLASS)}, ${sql.lit(LOCK_ID)}) AS "isGranted",
      EXISTS (
        SELECT FROM pg_locks
        WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND mode = 'ShareLock'
          AND classid = ${sql.lit(LOCK_CLASS)} AND objid = ${sql.lit(LOCK_ID)}
      ) AS "isShared"`.execute(trx)
  if (rows[0]?.isGranted) return
  if (rows[0]?.isShared)
    throw new Error(
      'contacts cannot be merged while this transaction holds them shared: run the transaction again',
    )
  await sql`SELECT pg_advisory_xact_lock(${sql.lit(LOCK_CLASS)}, ${sql.lit(LOCK_ID)})`.execute(trx)
}
