/**
 * Circuit breaker for each of our numbers and for each provider as a whole; table send_pauses, a row is an open breaker.
 *
 * It opens when a number is over its limits, a provider cannot be reached or does not answer (doubt-counter.ts), or a token
 * was refused. When its time is over it is half-open: one message tries. Success closes it; a failure opens it again for twice
 * as long.
 */
import { randomUUID } from 'node:crypto'
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { SendError } from '../../core/outbound.ts'
import { BACK_OFF, BREAKER_TRIAL_MS, type RetryRule } from '../../core/send-policy.ts'
import type { Database } from '../schema.ts'
import { waitEnd } from './back-off.ts'

export type SenderNumber = { provider: string; business_number: string }

/** A call to the provider. `trial`: of its claim; null: it tries for no breaker. */
export type Call = SenderNumber & { message_id: string; trial: string | null }

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

/** The state for this message. Locks the rows, so that of many claims at the same moment one makes the trial. */
export async function checkBreaker(
  trx: Transaction<Database>,
  { provider, business_number }: SenderNumber,
  messageId: string,
): Promise<BreakerState> {
  const { rows } = await sql<{ is_open: boolean }>`
    SELECT ${isOpenFor(sql`${messageId}::bigint`)} AS is_open FROM send_pauses p
    WHERE provider = ${provider} AND business_number IN ('', ${business_number})
    ORDER BY business_number FOR UPDATE`.execute(trx)
  if (rows.length === 0) return 'closed'
  return rows.some((row) => row.is_open) ? 'open' : 'half_open'
}

/**
 * SQL: whether the breaker `p` of send_pauses lets this message wait. One that only the refusals of another message keep open
 * does not: the message is its trial at once, because the other one may be the reason.
 */
export function isOpenFor(messageId: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql<boolean>`(p.paused_until > clock_timestamp()
    AND (p.suspect IS NULL OR p.trial IS NOT NULL OR p.suspect IS NOT DISTINCT FROM ${messageId}))`
}

/**
 * Makes the caller's claim the trial of the half-open breakers of this number, and returns the trial. Its result is given to
 * openBreaker, prolongTrials, confirmSender or passTrialOn. Call it after `half_open` only.
 */
export async function startTrial(
  trx: Transaction<Database>,
  { provider, business_number, message_id }: SenderNumber & { message_id: string },
): Promise<string> {
  const trial = randomUUID()
  await sql`
    UPDATE send_pauses p SET paused_until = clock_timestamp() + ${BREAKER_TRIAL_MS} * interval '1 millisecond',
      trial = ${trial}, updated_at = clock_timestamp()
    WHERE provider = ${provider} AND business_number IN ('', ${business_number})
      -- One that has opened since the check belongs to another call.
      AND NOT ${isOpenFor(sql`${message_id}::bigint`)}`.execute(trx)
  return trial
}

export type BreakerFailure = {
  rule: RetryRule
  error: SendError
  /** Of the credential that the provider refused; null for other failures. */
  credentialDigest: string | null
  /** The message may be the reason, and not its sender. */
  mayBeMessage?: boolean
}

/**
 * Opens the breaker of the call's number, or of its whole provider, as the rule says. Only the trial prolongs a breaker that is
 * open, not a call that began before it opened.
 */
export async function openBreaker(
  trx: Transaction<Database>,
  call: Call,
  { rule, error, credentialDigest, mayBeMessage = false }: BreakerFailure,
): Promise<void> {
  const suspect = mayBeMessage ? call.message_id : null
  const business_number = rule.scope === 'provider' ? '' : call.business_number
  await sql`
    INSERT INTO send_pauses AS p (provider, business_number, paused_until, failures, credential, error, suspect, since,
      updated_at)
    SELECT ${call.provider}, ${business_number}, ${pauseEnd(rule, '0')}, 1, ${credentialDigest},
      ${JSON.stringify(error)}::jsonb, ${suspect}::bigint, clock_timestamp(), clock_timestamp()
    ON CONFLICT ON CONSTRAINT send_pauses_pkey DO UPDATE SET
      failures = p.failures + 1, paused_until = ${pauseEnd(rule, 'p.failures')}, credential = excluded.credential,
      error = excluded.error, trial = NULL,
      suspect = CASE WHEN p.suspect = excluded.suspect THEN p.suspect END, updated_at = excluded.updated_at
    WHERE p.trial = ${call.trial}::uuid`.execute(trx)
}

/** Opens the breakers whose trial this call was again, that of its number and that of its provider. */
export async function prolongTrials(
  trx: Transaction<Database>,
  { provider, business_number, trial }: Call,
  { rule, error, credentialDigest }: BreakerFailure,
): Promise<void> {
  await sql`
    UPDATE send_pauses p SET failures = failures + 1, paused_until = ${pauseEnd(rule, 'p.failures')},
      credential = ${credentialDigest}, error = ${JSON.stringify(error)}::jsonb, trial = NULL, suspect = NULL,
      updated_at = clock_timestamp()
    WHERE provider = ${provider} AND business_number IN ('', ${business_number}) AND trial = ${trial}::uuid`.execute(
    trx,
  )
}

function pauseEnd(rule: RetryRule, failures: string) {
  return waitEnd(rule.firstDelayMs, rule.backOff ?? BACK_OFF[rule.scope], sql.raw(failures))
}

/**
 * The provider has answered a call and stopped nobody: closes the breakers whose trial the call was, ends the number's in-doubt
 * results in a row, and remembers for refused messages that another one has passed. A call that began before a breaker opened
 * does not close it.
 */
export async function confirmSender(
  db: Kysely<Database> | Transaction<Database>,
  { provider, business_number, message_id, trial }: Call,
): Promise<void> {
  await sql`
    WITH counted AS (
      DELETE FROM send_doubts WHERE provider = ${provider} AND business_number = ${business_number}
    ), others AS (
      UPDATE send_doubts SET is_provider_silent = false
      WHERE provider = ${provider} AND business_number <> ${business_number} AND is_provider_silent
    ), refused AS (
      UPDATE send_refusals SET has_other_passed = true
      WHERE provider = ${provider} AND business_number IN ('', ${business_number}) AND message_id <> ${message_id}
        AND NOT has_other_passed
    )
    DELETE FROM send_pauses WHERE provider = ${provider} AND business_number IN ('', ${business_number})
      AND trial = ${trial}::uuid`.execute(db)
}

/**
 * The provider has taken the file of a message: its message is the next trial, at once. A file shows that the provider answers
 * and takes the token, and nothing about the limits of the number.
 */
export async function passTrialOn(
  trx: Transaction<Database>,
  { provider, business_number, trial }: Call,
): Promise<void> {
  await sql`
    UPDATE send_pauses SET paused_until = clock_timestamp(), trial = NULL
    WHERE provider = ${provider} AND business_number IN ('', ${business_number}) AND trial = ${trial}::uuid`.execute(
    trx,
  )
}

/**
 * Closes the breakers that a refused credential opened, where another one is configured today, and ends the waits of the
 * messages that were refused with it.
 * `credentialDigests`: digest by provider.
 */
export async function closeForOtherCredentials(
  db: Kysely<Database>,
  credentialDigests: Partial<Record<ProviderName, string>>,
): Promise<void> {
  const providers = Object.keys(credentialDigests)
  await sql`
    WITH closed AS (
      DELETE FROM send_pauses p USING unnest(${providers}::text[], ${Object.values(credentialDigests)}::text[])
        AS c (provider, credential)
      WHERE p.provider = c.provider AND p.credential IS NOT NULL AND p.credential <> c.credential
      RETURNING p.provider, p.business_number
    ), forgotten AS (
      DELETE FROM send_refusals r USING closed c
      WHERE r.provider = c.provider AND r.business_number = c.business_number RETURNING r.message_id
    )
    UPDATE chat_messages m SET not_before = NULL FROM forgotten f
    WHERE m.id = f.message_id AND m.status = 'queued' AND m.wa_message_id IS NULL`.execute(db)
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
