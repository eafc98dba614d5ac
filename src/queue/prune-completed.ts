/**
 * Removing old completed jobs from BullMQ's PostgreSQL backend.
 *
 * With `removeOnComplete: { age }` BullMQ removes them whenever a job ends, in the same transaction. From the moment at which
 * there are any, all jobs that end at the same time delete the same rows: they wait for each other, and some of them for
 * each other in a circle (40P01), which fails a job that was done. So nothing is removed when a job ends; each worker does it
 * every few seconds, and passes over what another one is removing.
 */
import type { Pool } from 'pg'
import { QUEUE_SCHEMA } from './names.ts'

/** How long a completed job is kept: the first net still recognises it. */
export const KEEP_COMPLETED_MS = 600_000
const INTERVAL_MS = 2_000
/** A statement that takes long holds up whoever else needs the connection. */
const MAX_ROWS = 1_000

export type PruneOptions = {
  pool: Pick<Pool, 'query'>
  /** It is tried again at the next interval. */
  onError: (err: Error) => void
}

/** @returns what ends it. */
export function pruneCompleted({ pool, onError }: PruneOptions): () => void {
  let isRunning = false
  const timer = setInterval(async () => {
    if (isRunning) return
    isRunning = true
    await removeOld(pool).catch(onError)
    isRunning = false
  }, INTERVAL_MS)
  return () => clearInterval(timer)
}

async function removeOld(pool: PruneOptions['pool']): Promise<void> {
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
