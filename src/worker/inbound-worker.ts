/**
 * The consumer of the queue `inbound`: every job is one event, and ends in an outcome.
 *
 * The event store writes the jobs that run at the same time as one batch. While the database is away they are requeued,
 * which uses up no attempt, and the consumer pauses. A job that the database refuses is delayed, so that the others go first,
 * until the event store has stored or parked it.
 */

import type { Outcome } from '../core/event.ts'
import { EVENT_VERSION, type WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import { ownJobId } from '../core/job-id.ts'
import type { EventStore, RetryResult } from '../db/ingest/event-store.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import type { FindMessageId } from '../providers/index.ts'
import type { InboundConsumer, InboundJobResult, QueueBackend, ReservedJob } from '../queue/backend.ts'
import { isUnusable, unusableItem } from './unusable-job.ts'

export type InboundWorkerObserver = {
  onOutcome(outcome: Outcome, event: WebhookEvent): void
  /** Called at most once a second, with the error of the database. */
  onPause(cause: unknown, pauseMs: number): void
  /** Called for a job that failed: this worker does not know its format version, or has a defect. */
  onFailed(err: Error, jobId: string | undefined): void
}

export type InboundWorkerDeps = {
  backend: QueueBackend
  store: EventStore
  normalize: (event: WebhookEvent) => Fact
  findMessageId: FindMessageId
  concurrency: number
  observer: InboundWorkerObserver
}

/** How long the consumer pauses while the database is away, and so the longest time until it notices the recovery. */
const PAUSE_MS = 1_000
/** Between two batches while the database refuses everything. Short, because what it would take may be further behind. */
const PAUSE_OF_REFUSED_MS = 100

/** This worker does not know the format version of the job. */
export class UnknownEventVersionError extends Error {
  override name = 'UnknownEventVersionError'
}

/** Not started: call `run()`. */
export function createInboundWorker(deps: InboundWorkerDeps): InboundConsumer {
  const { backend, store, normalize, findMessageId, concurrency, observer } = deps
  let pausedUntil = 0

  function retry({ cause, isOnlyThis, retryInMs }: RetryResult): InboundJobResult {
    if (isOnlyThis) return { outcome: 'retry', pauseMs: 0, delayMs: retryInMs ?? 0 }
    const pauseMs = retryInMs === undefined ? PAUSE_MS : PAUSE_OF_REFUSED_MS
    // Every job of the batch gets here; the first one reports the pause.
    if (performance.now() >= pausedUntil) {
      pausedUntil = performance.now() + PAUSE_MS
      observer.onPause(cause, pauseMs)
    }
    return { outcome: 'retry', pauseMs, ...(retryInMs === undefined ? {} : { delayMs: retryInMs }) }
  }

  function itemOf(job: ReservedJob): StoreItem {
    if (isUnusable(job)) return unusableItem(job, findMessageId)
    const event = readEvent(job.data)
    return { job_id: ownJobId(job.id), event, fact: normalize(event) }
  }

  async function process(job: ReservedJob): Promise<InboundJobResult> {
    const item = itemOf(job)
    const result = await store.store(item)
    observer.onOutcome(result.outcome, item.event)
    if (result.outcome === 'retry') return retry(result)
    // A job that is kept would make the queue drop the event when it comes again with its payload.
    return { outcome: result.outcome, removeWhenDone: isUnusable(job) }
  }

  return backend.createInboundConsumer({ concurrency, process, onFailed: observer.onFailed })
}

/** @throws UnknownEventVersionError */
export function readEvent(data: unknown): WebhookEvent {
  const event = data as Partial<WebhookEvent>
  if (event.v !== EVENT_VERSION) {
    throw new UnknownEventVersionError(`job format version ${String(event.v)} is not ${EVENT_VERSION}`)
  }
  return event as WebhookEvent
}
