/**
 * Circuit breaker for each of our numbers, and for each provider as a whole (table send_pauses, one row for each open one).
 *
 * It opens when a number is over its limits, a provider cannot be reached, or a token was refused. When its time is over it
 * is half-open: one message tries. Success closes it; a failure opens it again for twice as long.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { SendError } from '../../core/outbound.ts'
import type { Database } from '../schema.ts'

export type SenderNumber = { provider: string; business_number: string }

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

/** How long the trial keeps other messages waiting. Longer than a call may take. */
const TRIAL_MS = 60_000

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
  { provider, business_number }: SenderNumber,
  messageId: string,
): Promise<void> {
  await sql`
    UPDATE send_pauses p SET paused_until = clock_timestamp() + ${TRIAL_MS} * interval '1 millisecond',
      updated_at = m.sending_since
    FROM chat_messages m
    WHERE m.id = ${messageId} AND p.provider = ${provider} AND p.business_number IN ('', ${business_number})`.execute(
    trx,
  )
}

export type BreakerFailure = SenderNumber & {
  /** The message whose send failed. Only the trial prolongs an open breaker, not a call that began before it opened. */
  messageId: string
  /** The first wait; doubles with each failure. */
  delayMs: number
  maxDelayMs: number
  error: SendError
  /** Of the credential that the provider refused; absent for other failures. */
  credentialDigest?: string | undefined
}

/** Opens the breaker of a number, or of the whole provider when `business_number` is ''. */
export async function openBreaker(trx: Transaction<Database>, failure: BreakerFailure): Promise<void> {
  const {
    provider,
    business_number,
    messageId,
    delayMs,
    maxDelayMs,
    error,
    credentialDigest = null,
  } = failure
  const until = (failures: string) => sql`clock_timestamp() + interval '1 millisecond'
    * least(${maxDelayMs}::float8, ${delayMs}::float8 * power(2, least(20, ${sql.raw(failures)}) - 1))`
  await sql`
    INSERT INTO send_pauses AS p (provider, business_number, paused_until, failures, credential, error, since, updated_at)
    SELECT ${provider}, ${business_number}, ${until('1')}, 1, ${credentialDigest}, ${JSON.stringify(error)}::jsonb,
      clock_timestamp(), clock_timestamp()
    ON CONFLICT ON CONSTRAINT send_pauses_pkey DO UPDATE SET
      failures = p.failures + 1, paused_until = ${until('(p.failures + 1)')}, credential = excluded.credential,
      error = excluded.error, updated_at = excluded.updated_at
    WHERE p.updated_at = (SELECT sending_since FROM chat_messages WHERE id = ${messageId})`.execute(trx)
}

/** Closes the breakers whose trial this message was. A call that began before they opened proves nothing. */
export async function closeBreaker(
  db: Kysely<Database> | Transaction<Database>,
  { provider, business_number }: SenderNumber,
  messageId: string,
): Promise<void> {
  await sql`
    DELETE FROM send_pauses WHERE provider = ${provider} AND business_number IN ('', ${business_number})
      AND updated_at = (SELECT sending_since FROM chat_messages WHERE id = ${messageId})`.execute(db)
}

/**
 * Closes the breakers that a refused credential opened, where another one is configured today.
 * `credentials`: digest by provider.
 */
export async function closeForOtherCredentials(
  db: Kysely<Database>,
  credentials: Partial<Record<ProviderName, string>>,
): Promise<void> {
  const providers = Object.keys(credentials)
  await sql`
    DELETE FROM send_pauses p USING unnest(${providers}::text[], ${Object.values(credentials)}::text[])
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
