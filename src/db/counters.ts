/** Totals since the database was created. They are exact, because each is counted in the transaction of the event itself. */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from './schema.ts'

const COUNTERS = ['stored', 'duplicates_database', 'duplicates_queue', 'merged', 'parked'] as const
export type Counter = (typeof COUNTERS)[number]

/** Rows per counter. With this many, two concurrent batches rarely update the same row and wait for each other. */
const SHARDS = 32

/** Adds to the totals; a negative number takes back. */
export async function addCounts(
  trx: Transaction<Database> | Kysely<Database>,
  counts: Partial<Record<Counter, number>>,
): Promise<void> {
  const names = COUNTERS.filter((name) => (counts[name] ?? 0) !== 0).sort()
  if (names.length === 0) return
  const shard = Math.floor(Math.random() * SHARDS)
  await sql`
    INSERT INTO counters (name, shard, value)
    SELECT name, ${shard}::smallint, value
    FROM unnest(${names}::text[], ${names.map((name) => counts[name])}::bigint[]) AS c(name, value)
    ON CONFLICT ON CONSTRAINT counters_pkey DO UPDATE SET value = counters.value + excluded.value`.execute(
    trx,
  )
}

export async function readCounts(db: Kysely<Database>): Promise<Record<Counter, number>> {
  const { rows } = await sql<{ name: string; value: string }>`
    SELECT name, sum(value) AS value FROM counters GROUP BY name`.execute(db)
  const totals = new Map(rows.map((row) => [row.name, Number(row.value)]))
  const counts = {} as Record<Counter, number>
  for (const name of COUNTERS) counts[name] = totals.get(name) ?? 0
  return counts
}
