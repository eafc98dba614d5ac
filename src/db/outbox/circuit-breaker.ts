/**
 * Senders that may not send for a while: a number that is over its limits, a provider that cannot be reached, a token that
 * was refused. When the time is over one message tries; the others follow if it gets through, else all wait twice as long.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { SendError } from '../../core/outbound.ts'
import type { Database } from '../schema.ts'

export type SenderNumber = { provider: string; business_number: string }

export type SendPause = {
  provider: string
  /** '' for all numbers of the provider. */
  business_number: string
  paused_until: Date
  /** Tries in a row that failed. */
  failures: number
  /** What the provider said last. */
  error: SendError | null
  since: Date
}

/** Longer than a call may take: until then nobody else tries. */
const PROBE_MS = 60_000

/**
 * - `free`: nothing stops this number
 * - `probe`: the time of its pauses is over, and this claim is the one that tries
 * - `paused`: it has to wait
 */
export type Passage = 'free' | 'probe' | 'paused'

/** Locks the pauses of the number, so that of many that come when the time is over one tries. */
export async function passPauses(
  trx: Transaction<Database>,
  { provider, business_number }: SenderNumber,
): Promise<Passage> {
  const { rows } = await sql<{ is_over: boolean }>`
    SELECT paused_until <= clock_timestamp() AS is_over FROM send_pauses
    WHERE provider = ${provider} AND business_number IN ('', ${business_number})
    ORDER BY business_number FOR UPDATE`.execute(trx)
  if (rows.length === 0) return 'free'
  return rows.every((row) => row.is_over) ? 'probe' : 'paused'
}

/**
 * This claim is the one that tries: by its sending_since the pause knows it again. Only after `probe`: a pause that has
 * begun since the look is another one's.
 */
export async function startProbe(
  trx: Transaction<Database>,
  { provider, business_number }: SenderNumber,
  messageId: string,
): Promise<void> {
  await sql`
    UPDATE send_pauses p SET paused_until = clock_timestamp() + ${PROBE_MS} * interval '1 millisecond',
      updated_at = m.sending_since
    FROM chat_messages m
    WHERE m.id = ${messageId} AND p.provider = ${provider} AND p.business_number IN ('', ${business_number})`.execute(
    trx,
  )
}

export type PauseOptions = SenderNumber & {
  /** The message whose send failed. Only the one that tries makes a pause longer, not those that were under way. */
  messageId: string
  /** The first wait; doubles from failure to failure. */
  delayMs: number
  maxDelayMs: number
  error: SendError
  /** Digest of the credential that was refused, where it was. */
  credential?: string | undefined
}

/** Stops the number, or all numbers of the provider where `business_number` is ''. */
export async function pauseSender(trx: Transaction<Database>, pause: PauseOptions): Promise<void> {
  const { provider, business_number, messageId, delayMs, maxDelayMs, error, credential = null } = pause
  const until = (failures: string) => sql`clock_timestamp() + interval '1 millisecond'
    * least(${maxDelayMs}::float8, ${delayMs}::float8 * power(2, least(20, ${sql.raw(failures)}) - 1))`
  await sql`
    INSERT INTO send_pauses AS p (provider, business_number, paused_until, failures, credential, error, since, updated_at)
    SELECT ${provider}, ${business_number}, ${until('1')}, 1, ${credential}, ${JSON.stringify(error)}::jsonb,
      clock_timestamp(), clock_timestamp()
    ON CONFLICT ON CONSTRAINT send_pauses_pkey DO UPDATE SET
      failures = p.failures + 1, paused_until = ${until('(p.failures + 1)')}, credential = excluded.credential,
      error = excluded.error, updated_at = excluded.updated_at
    WHERE p.updated_at = (SELECT sending_since FROM chat_messages WHERE id = ${messageId})`.execute(trx)
}

/** A message got through: ends the pauses that it was the one to try. A call that was under way before says nothing of now. */
export async function endPauses(
  db: Kysely<Database> | Transaction<Database>,
  { provider, business_number }: SenderNumber,
  messageId: string,
): Promise<void> {
  await sql`
    DELETE FROM send_pauses WHERE provider = ${provider} AND business_number IN ('', ${business_number})
      AND updated_at = (SELECT sending_since FROM chat_messages WHERE id = ${messageId})`.execute(db)
}

/** Another token than the one that was refused is tried at once. */
export async function releaseOtherCredentials(
  db: Kysely<Database>,
  credentials: Partial<Record<ProviderName, string>>,
): Promise<void> {
  const providers = Object.keys(credentials)
  await sql`
    DELETE FROM send_pauses p USING unnest(${providers}::text[], ${Object.values(credentials)}::text[])
      AS c (provider, credential)
    WHERE p.provider = c.provider AND p.credential IS NOT NULL AND p.credential <> c.credential`.execute(db)
}

/** Every sender that waits at the moment, longest first. */
export async function readSendPauses(db: Kysely<Database>): Promise<SendPause[]> {
  const { rows } = await sql<SendPause>`
    SELECT provider, business_number, paused_until, failures, error, since FROM send_pauses
    ORDER BY since, provider, business_number`.execute(db)
  return rows
}

/** One sentence for the admin: who waits, until when, and what the provider said. */
export function describeSendPause({ provider, business_number, paused_until, error }: SendPause): string {
  const sender = business_number === '' ? `every number at ${provider}` : `${business_number} at ${provider}`
  const reason = error === null ? 'no reason given' : `${error.message} (${error.code})`
  return `${sender} sends nothing until ${paused_until.toISOString()}, then one message tries: ${reason}`
}
