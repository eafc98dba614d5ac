/**
 * Limits how many messages a number sends in a second, for all workers together: one token bucket per number, in
 * PostgreSQL, because BullMQ's limiter knows only whole queues.
 */
import { sql, type Transaction } from 'kysely'
import { RATE_LIMIT } from '../../core/send-policy.ts'
import type { Database } from '../schema.ts'
import type { SenderNumber } from './circuit-breaker.ts'

/** A longer wait is none: the caller asks again much earlier. */
const MAX_WAIT_MS = 3_600_000

/**
 * Takes a token and returns undefined; without one, returns the milliseconds until the next. Locks the bucket: call it
 * last. A bucket that was filled in the future, because the clock was set back since, fills again from now on.
 */
export async function takeToken(
  trx: Transaction<Database>,
  { provider, business_number }: SenderNumber,
): Promise<number | undefined> {
  const capacity = sql.raw(`greatest(1, b.rate_per_second * ${RATE_LIMIT.burstShare})`)
  const flow = sql.raw(`b.rate_per_second * ${1 - RATE_LIMIT.burstShare}`)
  const level = sql`least(${capacity}, b.tokens + ${flow}
    * greatest(0, extract(epoch FROM clock_timestamp() - b.refilled_at)::float8))`
  const { rows } = await sql`
    INSERT INTO send_buckets AS b (provider, business_number, tokens, refilled_at)
    VALUES (${provider}, ${business_number}, 0, clock_timestamp())
    ON CONFLICT ON CONSTRAINT send_buckets_pkey DO UPDATE SET tokens = ${level} - 1, refilled_at = clock_timestamp()
    WHERE ${level} >= 1
    RETURNING 1`.execute(trx)
  if (rows.length > 0) return undefined
  const { rows: found } = await sql<{ wait_ms: number }>`
    WITH ahead AS (
      UPDATE send_buckets SET refilled_at = clock_timestamp()
      WHERE provider = ${provider} AND business_number = ${business_number} AND refilled_at > clock_timestamp()
    )
    SELECT ceil(least(${MAX_WAIT_MS}::integer, greatest(0, 1 - ${level}) / (${flow}) * 1000))::integer AS wait_ms
    FROM send_buckets b WHERE provider = ${provider} AND business_number = ${business_number}`.execute(trx)
  return Math.max(1, found[0]?.wait_ms ?? 1)
}
