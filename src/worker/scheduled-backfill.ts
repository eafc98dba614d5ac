/** Runs the back-fill at intervals, in one of several workers. */
import { randomUUID } from 'node:crypto'
import { holdLease, releaseLease } from '../db/leases.ts'
import { beginScheduledRun } from '../db/outbox/backfill-positions.ts'
import { type BackfillOptions, type BackfillReport, runBackfill } from './backfill.ts'

export type ScheduledBackfillDeps = Pick<
  BackfillOptions,
  'db' | 'store' | 'provider' | 'sender' | 'history'
> & {
  /** From the beginning of one run to the beginning of the next one, in whatever process, also when the run failed. */
  intervalMs: number
}

export type ScheduledBackfill = {
  /** Call it every few seconds. Returns undefined when the next run is not due, or another process runs it. */
  runOnce(signal: AbortSignal): Promise<BackfillReport | undefined>
}

/** Longer than one call may take with its retries; extended before each call. */
const LEASE_MS = 6 * 60_000

export function createScheduledBackfill(deps: ScheduledBackfillDeps): ScheduledBackfill {
  const { db, provider, history, intervalMs } = deps
  const lease = { name: `backfill.${provider}`, holder: randomUUID() }
  const extendLease = () => holdLease(db, { ...lease, durationMs: LEASE_MS })
  return {
    runOnce: async (signal) => {
      if (!(await extendLease())) return undefined
      try {
        const isDue = await beginScheduledRun(db, { provider, account: history.account }, intervalMs)
        return isDue ? await runBackfill({ ...deps, signal, mayContinue: extendLease }) : undefined
      } finally {
        await releaseLease(db, lease)
      }
    },
  }
}
