/**
 * The merge lock: one advisory lock that keeps a contact from being merged while another transaction relies on it.
 *
 * A transaction that writes for contacts or conversations holds it shared until it ends; one that merges contacts or retires
 * an identifier holds it exclusively. It is the first lock of a transaction: a transaction that waited for it while holding
 * others would make a circle. After it, rows are locked in one order: identifiers by (kind, value), contacts by id, new
 * conversations by (provider, business number, contact), new messages by wa_message_id, conversations by id, stored messages
 * by wa_message_id.
 *
 * So a batch has inserted its new messages when it locks their conversations. One writer waits against this order: the one that
 * gives a stored message an id which a batch inserts (ingest/merge-messages.ts) has that message locked while it waits for the
 * batch. So a transaction that holds a conversation does not wait for a message from the API: a claim and a resend skip a
 * locked one, and run again.
 */
import { sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'

/** 'wa-c' in ASCII: apart from the advisory locks of Kysely's migrator and of BullMQ. */
const LOCK_CLASS = 0x77612d63
const LOCK_ID = 1

/**
 * Takes the merge lock shared: until the transaction ends, no contact or conversation is merged. For transactions that write
 * to `conversations` or `chat_messages` without `resolveContacts`, which takes it itself. Call it before anything else.
 *
 * Returns the epoch of the contacts: while it stays the same, no contact was merged and no identifier went to another one.
 * A sequence alone could have a value for a second time where commits are lost: so the server's start is a part of the epoch,
 * for a failover and a physical backup, and the oid of the sequence for a dump. The CASE makes PostgreSQL take the lock before
 * it reads the sequence.
 */
export async function lockMergesShared(trx: Transaction<Database>): Promise<string> {
  const { rows } = await sql<{ epoch: string }>`
    SELECT concat_ws(' ', pg_sequence_last_value(
      CASE WHEN pg_advisory_xact_lock_shared(${sql.lit(LOCK_CLASS)}, ${sql.lit(LOCK_ID)}) IS NULL THEN 0::oid
      ELSE 'contact_generation'::regclass END
    ), 'contact_generation'::regclass::oid, extract(epoch FROM pg_postmaster_start_time())) AS epoch`.execute(
    trx,
  )
  return rows[0]?.epoch ?? ''
}

/** Makes every process drop its cached contacts. Call it under the exclusive lock, before merging or retiring anything. */
export async function advanceContactEpoch(trx: Transaction<Database>): Promise<void> {
  await sql`SELECT nextval('contact_generation')`.execute(trx)
}

/**
 * Takes the merge lock exclusively, until the transaction ends.
 * @throws Error when this transaction and others hold it shared: two transactions that do this would wait for each other.
 */
export async function lockMergesExclusive(trx: Transaction<Database>): Promise<void> {
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
