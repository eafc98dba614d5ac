/**
 * The consumer of the queue `inbound`: every job is one event, and ends in an outcome.
 *
 * Jobs that run at the same time are written as one batch by the event store. Where the database is away, the whole
 * queue pauses and the jobs go back to it; BullMQ's rate limit does that without using up an attempt.
 */
import { type Job, Worker } from 'bullmq'
import { EVENT_VERSION, type WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import type { FinalOutcome } from '../core/outcome.ts'
import type { EventStore } from '../db/event-store.ts'
import type { QueueBackend } from '../queue/backend.ts'

export type InboundWorkerObserver = {
  onOutcome(outcome: FinalOutcome | 'retry', event: WebhookEvent): void
  /** Once for each pause, with what stands in the way. */
  onPause(cause: unknown, pauseMs: number): void
  /** A job that ended without outcome: a version of the job format that this worker does not know, or a defect. */
  onFailed(err: Error, jobId: string | undefined): void
}

export type InboundWorkerDeps = {
  backend: QueueBackend
  store: EventStore
  normalize: (event: WebhookEvent) => Fact
  concurrency: number
  observer: InboundWorkerObserver
}

/** How long the queue pauses when the database is away: recovery is noticed within this time. */
const PAUSE_MS = 1_000

/** The worker reads an event in a version of the job format that it does not know. */
export class UnknownEventVersionError extends Error {
  override name = 'UnknownEventVersionError'
}

/** Not started: call `run()`. */
export function createInboundWorker(deps: InboundWorkerDeps): Worker {
  const { backend, store, normalize, concurrency, observer } = deps
  const pauseQueue = backend.createQueue('inbound')
  let pausedUntil = 0

  async function pause(cause: unknown): Promise<never> {
    // Every job of the batch comes here; the first one pauses the queue for all.
    if (performance.now() >= pausedUntil) {
      pausedUntil = performance.now() + PAUSE_MS
      observer.onPause(cause, PAUSE_MS)
      await pauseQueue.rateLimit(PAUSE_MS)
    }
    throw Worker.RateLimitError()
  }

  async function processJob(job: Job<WebhookEvent>): Promise<FinalOutcome> {
    const event = readEvent(job.data)
    const result = await store.store({ job_id: String(job.id), event, fact: normalize(event) })
    observer.onOutcome(result.outcome, event)
    return result.outcome === 'retry' ? pause(result.cause) : result.outcome
  }

  const worker = backend.createWorker('inbound', processJob, { concurrency })
  worker.on('failed', (job, err) => observer.onFailed(err, job?.id))
  return worker
}

/** @throws UnknownEventVersionError */
export function readEvent(data: WebhookEvent): WebhookEvent {
  if (data.v !== EVENT_VERSION) {
    throw new UnknownEventVersionError(`job format version ${String(data.v)} is not ${EVENT_VERSION}`)
  }
  return data
}
