/**
 * Runs failed inbound jobs again, so that a failed job never swallows a redelivery for good.
 *
 * A job fails when its worker died under it too often (it stalled), or when no worker knew its version. The second kind
 * is simply retried. The first may be what kills workers: it runs once more by itself, marked beforehand; if it is found
 * failed again with that mark, it is parked without being looked into. Callers see to it that one process sweeps at a time:
 * another one would take a job that is just running alone for one that has killed its worker.
 */
import type { Job, Queue } from 'bullmq'
import type { WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import type { EventStore } from '../db/event-store.ts'
import { readEvent } from './inbound-worker.ts'

export type FailedJobSweepDeps = {
  queue: Queue
  store: EventStore
  normalize: (event: WebhookEvent) => Fact
  /** A failed job rests this long before it is run again. */
  restMs?: number
  now?: () => number
}

export type SweepReport = { retried: number; ranAlone: number; parked: number }

type SweptEvent = WebhookEvent & { alone_since?: number }

const REST_MS = 10_000
const MAX_JOBS_A_RUN = 500
/** BullMQ's words for a job whose worker died too often (worker.js, moveStalledJobsToWait). */
const STALLED_REASON = /stalled more than/

export async function sweepFailedJobs(deps: FailedJobSweepDeps): Promise<SweepReport> {
  const report: SweepReport = { retried: 0, ranAlone: 0, parked: 0 }
  const jobs: (Job<SweptEvent> | undefined)[] = await deps.queue.getJobs(
    ['failed'],
    0,
    MAX_JOBS_A_RUN - 1,
    true,
  )
  for (const job of jobs) {
    const done = job && (await sweepJob(job, deps))
    if (done) report[done]++
  }
  return report
}

/** Undefined: nothing was done with it, it rests or the database is away. */
async function sweepJob(
  job: Job<SweptEvent>,
  deps: FailedJobSweepDeps,
): Promise<keyof SweepReport | undefined> {
  const { restMs = REST_MS, now = Date.now } = deps
  const hasRestedSince = (time: number) => time <= now() - restMs
  if (!hasRestedSince(job.finishedOn ?? 0)) return undefined
  if (!STALLED_REASON.test(job.failedReason ?? '')) {
    await job.retry('failed')
    return 'retried'
  }
  const { alone_since } = job.data
  if (alone_since === undefined) {
    await job.updateData({ ...job.data, alone_since: now() })
    return (await settle(job, deps, (event) => deps.normalize(event))) ? 'ranAlone' : undefined
  }
  if (!hasRestedSince(alone_since)) return undefined
  return (await settle(job, deps, () => ({ kind: 'parked', reason: PARKED_REASON }))) ? 'parked' : undefined
}

const PARKED_REASON = 'its worker died each time it was run'

/** Stores the job's event by itself and takes the job off the queue; false where the database is away. */
async function settle(
  job: Job<SweptEvent>,
  { store }: FailedJobSweepDeps,
  factOf: (event: WebhookEvent) => Fact,
): Promise<boolean> {
  const { alone_since: _, ...data } = job.data
  const event = readEvent(data)
  const result = await store.storeAlone({ job_id: String(job.id), event, fact: factOf(event) })
  if (result.outcome === 'retry') return false
  await job.remove()
  return true
}
