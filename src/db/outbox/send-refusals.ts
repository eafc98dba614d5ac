/**
 * Messages that were refused in the name of their whole sender or provider; table send_refusals.
 *
 * From one refusal nobody can tell whether the sender is stopped (a token that expired) or the message cannot pass (a firewall
 * that refuses a word, a template that the account may not send). So the sender stops, and other messages try first. When one
 * of them passes and this message is refused again, the message is the reason, and it alone waits.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'
import type { Call } from './circuit-breaker.ts'

/**
 * - `sender`: nothing says that the message is the reason
 * - `message`: others have passed since its first refusal; `times`: in how many of its refusals some had passed since the one
 *   before, this one included
 */
export type RefusalReason = { reason: 'sender' } | { reason: 'message'; times: number }

/** `isProviderWide`: the whole provider stops, so the messages of its other numbers are others too. */
export async function recordRefusal(
  trx: Transaction<Database>,
  { message_id, provider, business_number, trial }: Call,
  isProviderWide: boolean,
): Promise<RefusalReason> {
  // A trial says nothing about the message: the breaker is open because of others, too.
  const { rows } = await sql<{ is_alone: boolean; times_alone: number }>`
    WITH before AS (
      SELECT has_other_passed AND ${trial === null} AS is_counted,
        (has_other_passed OR times_alone > 0) AND ${trial === null} AS is_alone
      FROM send_refusals WHERE message_id = ${message_id} FOR UPDATE
    ), recorded AS (
      INSERT INTO send_refusals AS r (message_id, provider, business_number, updated_at)
      VALUES (${message_id}, ${provider}, ${isProviderWide ? '' : business_number}, clock_timestamp())
      ON CONFLICT ON CONSTRAINT send_refusals_pkey DO UPDATE SET business_number = excluded.business_number,
        times_alone = r.times_alone + (SELECT is_counted::integer FROM before), has_other_passed = false,
        updated_at = excluded.updated_at
      RETURNING times_alone
    )
    SELECT coalesce((SELECT is_alone FROM before), false) AS is_alone, times_alone FROM recorded`.execute(trx)
  const [refusal] = rows
  if (refusal === undefined) throw new Error('a refusal was not recorded')
  return refusal.is_alone ? { reason: 'message', times: refusal.times_alone } : { reason: 'sender' }
}

/** Those of messages that wait no longer. Call it now and then: many things end a send. */
export async function forgetEndedRefusals(db: Kysely<Database>): Promise<void> {
  await sql`
    DELETE FROM send_refusals r WHERE NOT EXISTS (
      SELECT FROM chat_messages m
      WHERE m.id = r.message_id AND m.source = 'api' AND m.wa_message_id IS NULL AND m.status IN ('queued', 'sending')
    )`.execute(db)
}
