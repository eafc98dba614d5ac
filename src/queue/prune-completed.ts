/**
 * Removes old completed jobs from BullMQ's PostgreSQL backend.
 *
 * With `removeOnComplete: { age }` BullMQ removes old jobs in the transaction that completes a job. Then all jobs that are
 * completed at the same time delete the same rows: they wait for each other, and some in a circle (40P01), which fails a
 * job that was done. So completing a job removes nothing; each worker prunes every few seconds, and skips the rows that
 * another worker is removing.
 */
import type { Pool } from 'pg'
import { runEvery } from '../lifecycle/run-every.ts'
import { QUEUE_SCHEMA } from './names.ts'

/** How long a completed job is kept, so that the queue drops its duplicates. */
export const KEEP_COMPLETED_MS = 600_000
const INTERVAL_MS = 2_000
/** Limits one statement, because other queries wait for the connection meanwhile. */
const MAX_ROWS = 1_000

export type PruneCompletedOptions = {
  pool: Pick<Pool, 'query'>
  signal: AbortSignal
  /** Called with each error; the next interval tries again. */
  onError: (err: Error) => void
}

/** Prunes on an interval until the signal aborts. */
export function pruneCompleted({ pool, signal, onError }: PruneCompletedOptions): Promise<void> {
  const report = (err: unknown) => onError(err instanceof Error ? err : new Error(String(err)))
  return runEvery(INTERVAL_MS, () => removeOld(pool), signal, report)
}

async function removeOld(pool: PruneCompletedOptions['pool']): Promise<void> {
  for (let removed = MAX_ROWS; removed === MAX_ROWS; ) {
    const { rowCount } = await pool.query(
      `DELETE FROM ${QUEUE_SCHEMA}.job WHERE (queue, id) IN (
         SELECT queue, id FROM ${QUEUE_SCHEMA}.job WHERE state = 'completed' AND finished_at_ms <= $1
         LIMIT ${MAX_ROWS} FOR UPDATE SKIP LOCKED)`,
      [Date.now() - KEEP_COMPLETED_MS],
    )
    removed = rowCount ?? 0
  }
}
