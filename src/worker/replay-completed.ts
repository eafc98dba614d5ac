/**
 * Stores the events of completed jobs once more, for a database that has lost commits.
 *
 * After a failover to a replica that lagged, or a restore to an earlier moment, the queue still holds the jobs that were
 * completed last, and drops every redelivery of their events. Their events take the way of a worker, so those that are stored
 * are duplicates. Safe to stop, to repeat, and to run beside workers.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Job, Queue } from 'bullmq'
import type { WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import { ownJobId } from '../core/job-id.ts'
import type { EventStore, StoreResult } from '../db/ingest/event-store.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import { readEvent } from './inbound-worker.ts'
import { isUnusable } from './unusable-job.ts'

export type ReplayDeps = {
  queue: Queue
  /** One that does not count duplicates: they were counted when they came. */
  store: EventStore
  normalize: (event: WebhookEvent) => Fact
}

export type ReplayOptions = {
  /** Only jobs that were completed at or after this time. */
  since?: Date | undefined
  signal: AbortSignal
  /** Called at the beginning, and after each batch: how many of all completed jobs were looked at. */
  onProgress?: (report: ReplayReport, progress: { done: number; total: number }) => void
}

export type ReplayReport = {
  /** Completed jobs that were read; those before `since` are not counted. */
  examined: number
  /** Were missing, and are stored. */
  stored: number
  /** Were there with less content, and have it. */
  merged: number
  /** Were missing, and cannot be stored as what they are. */
  parked: number
  already_there: number
  /** Removed from the queue before they were read: their time there was over. */
  removed: number
  /** Redis has deleted their data, or it is damaged. */
  without_data: number
  /** This version cannot read them. */
  failed: number
  /** When the last job that was read was completed: a run that begins there goes on from here. */
  read_until?: Date
}

type Reading = { report: ReplayReport; since: number }

const BATCH_JOBS = 256
const MAX_TRIES = 5
const RETRY_DELAY_MS = 1_000

/**
 * Oldest first, because the queue removes the oldest. Stops between two batches when the signal aborts.
 * @throws the error of the queue; the database's when it still takes no events after some tries
 */
export async function replayCompletedJobs(
  deps: ReplayDeps,
  { since, signal, onProgress }: ReplayOptions,
): Promise<{ report: ReplayReport; cause?: unknown }> {
  const report: ReplayReport = {
    ...{ examined: 0, stored: 0, merged: 0, parked: 0, already_there: 0 },
    ...{ removed: 0, without_data: 0, failed: 0 },
  }
  const reading = { report, since: since?.getTime() ?? 0 }
  // All ids at once: the places in the list move while workers complete jobs.
  const ids = await deps.queue.getRanges(['completed'], 0, -1, true)
  onProgress?.(report, { done: 0, total: ids.length })
  let cause: unknown
  for (let at = 0; at < ids.length && !signal.aborted; at += BATCH_JOBS) {
    const jobs = await readJobs(deps.queue, ids.slice(at, at + BATCH_JOBS), reading)
    const items = jobs.flatMap((job) => {
      try {
        return itemsOf(job, deps, report)
      } catch (err) {
        if (report.failed++ === 0) cause = err
        return []
      }
    })
    const results = await Promise.all(items.map((item) => storeItem(deps.store, item, signal)))
    for (const { outcome } of results) report[FIELD_OF[outcome]]++
    const latest = Math.max(...jobs.map(({ finishedOn = 0 }) => finishedOn))
    if (latest > 0) report.read_until = new Date(latest)
    onProgress?.(report, { done: Math.min(at + BATCH_JOBS, ids.length), total: ids.length })
  }
  return cause === undefined ? { report } : { report, cause }
}

const FIELD_OF = {
  stored: 'stored',
  merged: 'merged',
  parked: 'parked',
  duplicate: 'already_there',
} as const

/** Those that were completed in time. */
async function readJobs(queue: Queue, ids: readonly string[], { report, since }: Reading): Promise<Job[]> {
  const jobs = await Promise.all(ids.map((id) => readJob(queue, id)))
  return jobs.flatMap((job) => {
    if (job === undefined) report.removed++
    if (job === 'damaged') {
      report.examined++
      report.without_data++
    }
    if (job === undefined || job === 'damaged' || (job.finishedOn ?? 0) < since) return []
    report.examined++
    return [job]
  })
}

async function readJob(queue: Queue, id: string): Promise<Job | 'damaged' | undefined> {
  try {
    return await queue.getJob(id)
  } catch (err) {
    // BullMQ parses the data of a job.
    if (err instanceof SyntaxError) return 'damaged'
    throw err
  }
}

/** @throws UnknownEventVersionError, or the error of `normalize` */
function itemsOf({ id, data }: Job, { normalize }: ReplayDeps, report: ReplayReport): StoreItem[] {
  const job = { id: String(id), data }
  if (isUnusable(job)) {
    // Not parked: its event may be stored.
    report.without_data++
    return []
  }
  const event = readEvent(job.data)
  return [{ job_id: ownJobId(job.id), event, fact: normalize(event) }]
}

async function storeItem(
  store: EventStore,
  item: StoreItem,
  signal: AbortSignal,
): Promise<Exclude<StoreResult, { outcome: 'retry' }>> {
  for (let tries = 1; ; tries++) {
    const result = await store.store(item)
    if (result.outcome !== 'retry') return result
    if (tries === MAX_TRIES || signal.aborted) throw result.cause
    await delay(RETRY_DELAY_MS, undefined, { signal }).catch(() => {})
  }
}
