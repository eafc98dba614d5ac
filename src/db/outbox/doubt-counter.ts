/**
 * Counts in-doubt results in a row for each of our numbers (table send_doubts), and opens circuit breakers when a provider
 * takes calls and does not answer them. In the database, so that every worker counts the same results.
 */
import { sql, type Transaction } from 'kysely'
import type { SendError } from '../../core/outbound.ts'
import { IN_DOUBT } from '../../core/send-policy.ts'
import type { Database } from '../schema.ts'
import { type Call, openBreaker, prolongTrials, type SenderNumber } from './circuit-breaker.ts'

/**
 * Counts the in-doubt result of this call. It prolongs every breaker whose trial the call was; enough results in a row
 * open the breaker of the number, enough numbers that of the provider.
 */
export async function recordDoubt(trx: Transaction<Database>, call: Call, error: SendError): Promise<void> {
  const { firstDelayMs, backOff, maxInARow, maxNumbers } = IN_DOUBT
  const failure = { error, credentialDigest: null }
  const { in_a_row, numbers } = await countDoubt(trx, call)
  await prolongTrials(trx, call, { ...failure, rule: { scope: 'sender', firstDelayMs, backOff } })
  if (numbers >= maxNumbers)
    await openBreaker(trx, call, { ...failure, rule: { scope: 'provider', firstDelayMs, backOff } })
  if (in_a_row >= maxInARow)
    await openBreaker(trx, call, { ...failure, rule: { scope: 'sender', firstDelayMs, backOff } })
}

/** `numbers`: how many numbers of the provider are in doubt since it last answered any of them, this one included. */
async function countDoubt(
  trx: Transaction<Database>,
  { provider, business_number }: SenderNumber,
): Promise<{ in_a_row: number; numbers: number }> {
  const { rows } = await sql<{ in_a_row: number; numbers: number }>`
    WITH counted AS (
      INSERT INTO send_doubts AS d (provider, business_number, in_a_row, is_provider_silent, updated_at)
      VALUES (${provider}, ${business_number}, 1, true, clock_timestamp())
      ON CONFLICT ON CONSTRAINT send_doubts_pkey DO UPDATE SET in_a_row = d.in_a_row + 1, is_provider_silent = true,
        updated_at = clock_timestamp()
      RETURNING in_a_row
    )
    SELECT in_a_row, 1 + (
      SELECT count(*)::integer FROM send_doubts
      WHERE provider = ${provider} AND business_number <> ${business_number} AND is_provider_silent
    ) AS numbers FROM counted`.execute(trx)
  const [counted] = rows
  if (counted === undefined) throw new Error('an in-doubt result was not counted')
  return counted
}
