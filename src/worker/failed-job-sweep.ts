/**
 * Runs failed inbound jobs again. A job that stayed failed would make the queue drop each redelivery of its event.
 *
 * A job fails when its workers have died too often while they ran it (it stalled), or when the worker did not know its
 * version. The sweep retries a job of the second kind. A job of the first kind may be the one that kills workers: the sweep
 * runs it alone, and marks it for as long as it runs. A job that is found failed with this mark has killed the sweep, and is
 * parked unread. Only one process may sweep at a time (the caller holds a lease): a second one would find a mark of a job
 * that is still running, and park it.
 */
import type { Job, Queue } from 'bullmq'
import type { InboundJob, WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import { ownJobId } from '../core/job-id.ts'
import type { EventStore } from '../db/ingest/event-store.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import type { FindMessageId } from '../providers/index.ts'
import { readEvent } from './inbound-worker.ts'
import { isUnusable, unusableItem } from './unusable-job.ts'

export type FailedJobSweepDeps = {
  queue: Queue
  store: EventStore
  normalize: (event: WebhookEvent) => Fact
  findMessageId: FindMessageId
  /** Whether the event is stored, told without reading its payload; false when that is not certain. */
  isStored?: (job: InboundJob) => Promise<boolean>
  /** How long after its failure a job is run again. */
  restMs?: number
  /** After this time no further job is started; 30 s unless given. */
  maxRunMs?: number
  now?: () => number
  /** Runs a job that may kill the process while the process does nothing whose loss would be felt. */
  whileQuiet?: <Result>(work: () => Promise<Result>) => Promise<Result>
  /** When it aborts, the sweep starts no further job. */
  signal?: AbortSignal
}

export type SweepReport = {
  retried: number
  ranAlone: number
  parked: number
  /** Jobs that stay failed: this process does not know their version, or has a defect. */
  failed: number
  /** The error of the first of those. */
  cause?: unknown
}

type SweptEvent = WebhookEvent & { alone_since?: number }

const REST_MS = 10_000
const MAX_JOBS_A_RUN = 500
/** Well within the lease of the caller. The next sweep runs the rest. */
const MAX_RUN_MS = 30_000
/** BullMQ's reason for a job that stalled too often (worker.js, moveStalledJobsToWait). */
const STALLED_REASON = /stalled more than/
const PARKED_REASON = 'its worker died each time it was run'

/** Runs one job after another, those that may kill the process at the end. An error of one job does not stop the others. */
export async function sweepFailedJobs(deps: FailedJobSweepDeps): Promise<SweepReport> {
  const report: SweepReport = { retried: 0, ranAlone: 0, parked: 0, failed: 0 }
  const endsAt = performance.now() + (deps.maxRunMs ?? MAX_RUN_MS)
  const dangerous: Job<SweptEvent>[] = []

  async function forEach<Item>(items: readonly Item[], run: (item: Item) => Promise<void>): Promise<void> {
    for (const item of items) {
      if (deps.signal?.aborted || performance.now() > endsAt) return
      try {
        await run(item)
      } catch (err) {
        if (report.failed++ === 0) report.cause = err
      }
    }
  }

  await forEach(await deps.queue.getRanges(['failed'], 0, MAX_JOBS_A_RUN - 1, true), async (id) => {
    // One by one: BullMQ throws for a job whose data is damaged.
    const job: Job<SweptEvent> | undefined = await deps.queue.getJob(id)
    const done = job && (await sweepJob(job, deps))
    if (done === 'dangerous') dangerous.push(job as Job<SweptEvent>)
    else if (done) report[done]++
  })
  if (dangerous.length === 0) return report
  const { whileQuiet = (work) => work() } = deps
  await whileQuiet(() =>
    forEach(dangerous, async (job) => {
      if (await runAlone(job, deps)) report.ranAlone++
    }),
  )
  return report
}

/** Returns undefined when it did nothing: the job failed a moment ago, or the database is away. */
async function sweepJob(
  job: Job<SweptEvent>,
  deps: FailedJobSweepDeps,
): Promise<'retried' | 'dangerous' | 'ranAlone' | 'parked' | undefined> {
  const { store, isStored = async () => false, restMs = REST_MS, now = Date.now } = deps
  // A time this far in the future was written by a clock that was wrong.
  const hasRestedSince = (time: number) => Math.abs(now() - time) >= restMs
  if (!hasRestedSince(job.finishedOn ?? 0)) return undefined
  if (!STALLED_REASON.test(job.failedReason ?? '')) {
    await job.retry('failed')
    return 'retried'
  }
  const { alone_since } = job.data
  if (alone_since === undefined) return 'dangerous'
  if (!hasRestedSince(alone_since)) return undefined
  const item = readJob(job, deps.findMessageId)(() => ({ kind: 'parked', reason: PARKED_REASON }))
  // The process may have died after the job was stored, for another reason.
  if (await isStored(item)) {
    await job.remove()
    return 'ranAlone'
  }
  return (await storeAndRemove(job, item, store)) ? 'parked' : undefined
}

/**
 * Returns false when the database is away. It removes the mark however the run ends, because the mark means that the process
 * has died.
 * @throws UnknownEventVersionError before it sets the mark: a process that cannot run the job must not mark it.
 */
async function runAlone(
  job: Job<SweptEvent>,
  { store, normalize, findMessageId, now = Date.now }: FailedJobSweepDeps,
): Promise<boolean> {
  const makeItem = readJob(job, findMessageId)
  const unmarked = job.data
  let isStored = false
  await job.updateData({ ...unmarked, alone_since: now() })
  try {
    isStored = await storeAndRemove(job, makeItem(normalize), store)
  } finally {
    if (!isStored) await job.updateData(unmarked)
  }
  return isStored
}

/**
 * Returns a function that makes the job's store item from the fact in its event.
 * @throws UnknownEventVersionError
 */
function readJob(
  { id, data }: Job<SweptEvent>,
  findMessageId: FindMessageId,
): (factOf: (event: WebhookEvent) => Fact) => StoreItem {
  const { alone_since: _, ...unmarked } = data
  const job = { id: String(id), data: unmarked }
  if (isUnusable(job)) return () => unusableItem(job, findMessageId)
  const event = readEvent(job.data)
  return (factOf) => ({ job_id: ownJobId(job.id), event, fact: factOf(event) })
}

/** Stores the item by itself and removes the job from the queue. Returns false when the database is away. */
async function storeAndRemove(job: Job, item: StoreItem, store: EventStore): Promise<boolean> {
  const result = await store.storeAlone(item)
  if (result.outcome === 'retry') return false
  await job.remove()
  return true
}
