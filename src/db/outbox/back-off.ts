import { type RawBuilder, sql } from 'kysely'
import type { BackOff } from '../../core/send-policy.ts'

/** Keeps power() within float8. Every maximum is reached long before. */
const MAX_EXPONENT = 20

/** SQL: when a wait ends that begins now, after `failures` earlier ones in a row. */
export function waitEnd(
  firstDelayMs: number,
  { factor, maxDelayMs }: BackOff,
  failures: RawBuilder<unknown>,
): RawBuilder<Date> {
  return sql<Date>`clock_timestamp() + interval '1 millisecond' * least(${maxDelayMs}::float8,
    ${firstDelayMs}::float8 * power(${factor}::float8, least(${MAX_EXPONENT}::integer, ${failures})))`
}
