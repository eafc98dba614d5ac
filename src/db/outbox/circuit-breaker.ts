/**
 * Circuit breaker for each of our numbers and for each provider as a whole; table send_pauses, a row is an open breaker.
 *
 * It opens when a number is over its limits, a provider cannot be reached or does not answer (doubt-counter.ts), or a token
 * was refused. When its time is over it is half-open: one message tries. Success closes it; a failure opens it again for twice
 * as long.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { SendError } from '../../core/outbound.ts'
import { BACK_OFF, BREAKER_TRIAL_MS, type RetryRule } from '../../core/send-policy.ts'
import type { Database } from '../schema.ts'
import { waitEnd } from './back-off.ts'

export type SenderNumber = { provider: string; business_number: string }

/** The message of a call, with its number. */
export type SentMessage = SenderNumber & { message_id: string }

export type OpenBreaker = {
  provider: string
  /** '' for all numbers of the provider. */
  business_number: string
  paused_until: Date
  /** Trials in a row that failed, the first failure included. */
  failures: number
  /** The last error. */
  error: SendError | null
  since: Date
}

/**
 * - `closed`: messages may be sent
 * - `half_open`: the time of every open breaker is over; the claim that sees this makes the trial
 * - `open`: messages wait
 */
export type BreakerState = 'closed' | 'half_open' | 'open'

/** The state for this number. Locks the rows, so that of many claims at the same moment one makes the trial. */
export async function checkBreaker(
  trx: Transaction<Database>,
  { provider, business_number }: SenderNumber,
): Promise<BreakerState> {
  const { rows } = await sql<{ is_over: boolean }>`
    SELECT paused_until <= clock_timestamp() AS is_over FROM send_pauses
    WHERE provider = ${provider} AND business_number IN ('', ${business_number})
    ORDER BY business_number FOR UPDATE`.execute(trx)
  if (rows.length === 0) return 'closed'
  return rows.every((row) => row.is_over) ? 'half_open' : 'open'
}

/**
 * Records this message as the trial: the breaker's `updated_at` becomes the message's `sending_since`. Call it after
 * `half_open` only: a breaker that opened after the check belongs to another message.
 */
export async function startTrial(
  trx: Transaction<Database>,
  { provider, business_number, message_id }: SentMessage,
): Promise<void> {
  await sql`
    UPDATE send_pauses p SET paused_until = clock_timestamp() + ${BREAKER_TRIAL_MS} * interval '1 millisecond',
      updated_at = m.sending_since
    FROM chat_messages m
    WHERE m.id = ${message_id} AND p.provider = ${provider} AND p.business_number IN ('', ${business_number})`.execute(
    trx,
  )
}

export type BreakerFailure = {
  rule: RetryRule
  error: SendError
  /** Of the credential that the provider refused; null for other failures. */
  credentialDigest: string | null
}

/**
 * Opens the breaker of the message's number, or of its whole provider, as the rule says. Only the trial prolongs a breaker
 * that is open, not a call that began before it opened.
 */
export async function openBreaker(
  trx: Transaction<Database>,
  message: SentMessage,
  { rule, error, credentialDigest }: BreakerFailure,
): Promise<void> {
  const business_number = rule.scope === 'provider' ? '' : message.business_number
  await sql`
    INSERT INTO send_pauses AS p (provider, business_number, paused_until, failures, credential, error, since, updated_at)
    SELECT ${message.provider}, ${business_number}, ${pauseEnd(rule, '0')}, 1, ${credentialDigest},
      ${JSON.stringify(error)}::jsonb, clock_timestamp(), clock_timestamp()
    ON CONFLICT ON CONSTRAINT send_pauses_pkey DO UPDATE SET
      failures = p.failures + 1, paused_until = ${pauseEnd(rule, 'p.failures')}, credential = excluded.credential,
      error = excluded.error, updated_at = excluded.updated_at
    WHERE p.updated_at = (SELECT sending_since FROM chat_messages WHERE id = ${message.message_id})`.execute(
    trx,
  )
}

/** Opens the breakers whose trial this message was again, that of its number and that of its provider. */
export async function prolongTrials(
  trx: Transaction<Database>,
  { provider, business_number, message_id }: SentMessage,
  { rule, error, credentialDigest }: BreakerFailure,
): Promise<void> {
  await sql`
    UPDATE send_pauses p SET failures = failures + 1, paused_until = ${pauseEnd(rule, 'p.failures')},
      credential = ${credentialDigest}, error = ${JSON.stringify(error)}::jsonb, updated_at = clock_timestamp()
    WHERE provider = ${provider} AND business_number IN ('', ${business_number})
      AND updated_at = (SELECT sending_since FROM chat_messages WHERE id = ${message_id})`.execute(trx)
}

function pauseEnd(rule: RetryRule, failures: string) {
  return waitEnd(rule.firstDelayMs, rule.backOff ?? BACK_OFF[rule.scope], sql.raw(failures))
}

/**
 * For a message that the provider answered: closes the breakers whose trial it was, and ends the number's in-doubt results in
 * a row. A call that began before a breaker opened does not close it.
 */
export async function closeBreaker(
  db: Kysely<Database> | Transaction<Database>,
  { provider, business_number, message_id }: SentMessage,
): Promise<void> {
  await sql`
    WITH counted AS (
      DELETE FROM send_doubts WHERE provider = ${provider} AND business_number = ${business_number}
    ), others AS (
      UPDATE send_doubts SET is_provider_silent = false
      WHERE provider = ${provider} AND business_number <> ${business_number} AND is_provider_silent
    )
    DELETE FROM send_pauses WHERE provider = ${provider} AND business_number IN ('', ${business_number})
      AND updated_at = (SELECT sending_since FROM chat_messages WHERE id = ${message_id})`.execute(db)
}

/**
 * Closes the breakers that a refused credential opened, where another one is configured today.
 * `credentialDigests`: digest by provider.
 */
export async function closeForOtherCredentials(
  db: Kysely<Database>,
  credentialDigests: Partial<Record<ProviderName, string>>,
): Promise<void> {
  const providers = Object.keys(credentialDigests)
  await sql`
    DELETE FROM send_pauses p USING unnest(${providers}::text[], ${Object.values(credentialDigests)}::text[])
      AS c (provider, credential)
    WHERE p.provider = c.provider AND p.credential IS NOT NULL AND p.credential <> c.credential`.execute(db)
}

/** Every open or half-open breaker, the longest open first. */
export async function readOpenBreakers(db: Kysely<Database>): Promise<OpenBreaker[]> {
  const { rows } = await sql<OpenBreaker>`
    SELECT provider, business_number, paused_until, failures, error, since FROM send_pauses
    ORDER BY since, provider, business_number`.execute(db)
  return rows
}

/** One sentence for the admin: which sender, until when, and the provider's error. */
export function describeOpenBreaker({ provider, business_number, paused_until, error }: OpenBreaker): string {
  const sender = business_number === '' ? `every number at ${provider}` : `${business_number} at ${provider}`
  const reason = error === null ? 'no reason given' : `${error.message} (${error.code})`
  return `${sender} sends nothing until ${paused_until.toISOString()}, then one message tries: ${reason}`
}
