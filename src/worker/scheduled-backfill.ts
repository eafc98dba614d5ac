/** The back-fill at intervals, by one of several workers. */
import { randomUUID } from 'node:crypto'
import { holdLease, releaseLease } from '../db/leases.ts'
import { beginScheduledRun } from '../db/outbox/backfill-positions.ts'
import { type BackfillOptions, type BackfillReport, runBackfill } from './backfill.ts'

export type ScheduledBackfillDeps = Pick<
  BackfillOptions,
  'db' | 'store' | 'provider' | 'sender' | 'history'
> & {
  /** From the beginning of one run to that of the next, whichever process it was, also when it failed. */
  intervalMs: number
}

export type ScheduledBackfill = {
  /** Undefined: it is not time, or another process is at it. To be called every few seconds. */
  runOnce(signal: AbortSignal): Promise<BackfillReport | undefined>
}

/** Longer than one call may take with everything that is tried again; renewed before each. */
const LEASE_MS = 6 * 60_000

export function createScheduledBackfill(deps: ScheduledBackfillDeps): ScheduledBackfill {
  const { db, provider, history, intervalMs } = deps
  const lease = { name: `backfill.${provider}`, holder: randomUUID() }
  const hold = () => holdLease(db, { ...lease, durationMs: LEASE_MS })
  return {
    runOnce: async (signal) => {
      if (!(await hold())) return undefined
      try {
        const isDue = await beginScheduledRun(db, { provider, account: history.account }, intervalMs)
        return isDue ? await runBackfill({ ...deps, signal, mayGoOn: hold }) : undefined
      } finally {
        await releaseLease(db, lease)
      }
    },
  }
}
