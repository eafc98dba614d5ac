/**
 * Runs failed inbound jobs again, so that a failed job never swallows a redelivery for good.
 *
 * A job fails when its worker died under it too often (it stalled), or when no worker knew its version. The second kind
 * is simply retried. The first may be what kills workers: it runs once more by itself, marked for as long as it runs; if it
 * is found failed with that mark, it is parked without being looked into. Callers see to it that one process sweeps at a
 * time: another one would take a job that is just running alone for one that has killed its worker.
 */
import type { Job, Queue } from 'bullmq'
import type { WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import type { EventStore } from '../db/ingest/event-store.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import { emptiedItem, isEmptied } from './emptied-job.ts'
import { readEvent } from './inbound-worker.ts'

export type FailedJobSweepDeps = {
  queue: Queue
  store: EventStore
  normalize: (event: WebhookEvent) => Fact
  /** A failed job rests this long before it is run again. */
  restMs?: number
  now?: () => number
  /** Aborts when no other job is to be begun with. */
  signal?: AbortSignal
}

export type SweepReport = {
  retried: number
  ranAlone: number
  parked: number
  /** Jobs left as they are: this process does not know their version, or has a defect. */
  failed: number
  /** What the first of those failed with. */
  cause?: unknown
}

type SweptEvent = WebhookEvent & { alone_since?: number }

const REST_MS = 10_000
const MAX_JOBS_A_RUN = 500
/** Well within the time for which a caller can know that nobody else sweeps. The rest is for the next time. */
const MAX_RUN_MS = 30_000
/** BullMQ's words for a job whose worker died too often (worker.js, moveStalledJobsToWait). */
const STALLED_REASON = /stalled more than/
const PARKED_REASON = 'its worker died each time it was run'

/** One job after the other; what is wrong with one of them is not the fault of the next. */
export async function sweepFailedJobs(deps: FailedJobSweepDeps): Promise<SweepReport> {
  const report: SweepReport = { retried: 0, ranAlone: 0, parked: 0, failed: 0 }
  const endsAt = performance.now() + MAX_RUN_MS
  const jobs: (Job<SweptEvent> | undefined)[] = await deps.queue.getJobs(
    ['failed'],
    0,
    MAX_JOBS_A_RUN - 1,
    true,
  )
  for (const job of jobs) {
    if (deps.signal?.aborted || performance.now() > endsAt) break
    try {
      const done = job && (await sweepJob(job, deps))
      if (done) report[done]++
    } catch (err) {
      if (report.failed++ === 0) report.cause = err
    }
  }
  return report
}

/** Undefined: nothing was done with it, it rests or the database is away. */
async function sweepJob(
  job: Job<SweptEvent>,
  deps: FailedJobSweepDeps,
): Promise<'retried' | 'ranAlone' | 'parked' | undefined> {
  const { store, restMs = REST_MS, now = Date.now } = deps
  // A time ahead of ours by as much was written with a clock that was wrong.
  const hasRestedSince = (time: number) => Math.abs(now() - time) >= restMs
  if (!hasRestedSince(job.finishedOn ?? 0)) return undefined
  if (!STALLED_REASON.test(job.failedReason ?? '')) {
    await job.retry('failed')
    return 'retried'
  }
  const { alone_since } = job.data
  if (alone_since === undefined) return (await runAlone(job, deps)) ? 'ranAlone' : undefined
  if (!hasRestedSince(alone_since)) return undefined
  const item = readJob(job)(() => ({ kind: 'parked', reason: PARKED_REASON }))
  return (await settle(job, item, store)) ? 'parked' : undefined
}

/**
 * False where the database is away. Whatever comes of it, the mark goes again: it is to say that the process has died.
 * @throws UnknownEventVersionError, before it has marked anything: only who could have run it may say that it kills.
 */
async function runAlone(
  job: Job<SweptEvent>,
  { store, normalize, now = Date.now }: FailedJobSweepDeps,
): Promise<boolean> {
  const makeItem = readJob(job)
  const unmarked = job.data
  let isDone = false
  await job.updateData({ ...unmarked, alone_since: now() })
  try {
    isDone = await settle(job, makeItem(normalize), store)
  } finally {
    if (!isDone) await job.updateData(unmarked)
  }
  return isDone
}

/**
 * What makes an item of the job, given what is to be found in its event.
 * @throws UnknownEventVersionError
 */
function readJob({ id, data }: Job<SweptEvent>): (factOf: (event: WebhookEvent) => Fact) => StoreItem {
  const { alone_since: _, ...unmarked } = data
  const job = { id: String(id), data: unmarked }
  if (isEmptied(job)) return () => emptiedItem(job)
  const event = readEvent(job.data)
  return (factOf) => ({ job_id: job.id, event, fact: factOf(event) })
}

/** Stores it by itself and takes the job off the queue; false where the database is away. */
async function settle(job: Job, item: StoreItem, store: EventStore): Promise<boolean> {
  const result = await store.storeAlone(item)
  if (result.outcome === 'retry') return false
  await job.remove()
  return true
}
