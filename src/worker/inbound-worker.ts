/**
 * The consumer of the queue `inbound`: every job is one event, and ends in an outcome.
 *
 * Jobs that run at the same time are written as one batch by the event store. Where the database is away, they go back to
 * the queue without having used up an attempt, and nothing is taken for a while.
 */
import { EVENT_VERSION, type WebhookEvent } from '../core/event.ts'
import type { Fact } from '../core/fact.ts'
import type { Outcome } from '../core/outcome.ts'
import type { EventStore } from '../db/ingest/event-store.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import type { InboundConsumer, InboundJobResult, QueueBackend, TakenJob } from '../queue/backend.ts'
import { emptiedItem, isEmptied } from './emptied-job.ts'

export type InboundWorkerObserver = {
  onOutcome(outcome: Outcome, event: WebhookEvent): void
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

/** How long nothing is taken when the database is away: recovery is noticed within this time. */
const PAUSE_MS = 1_000

/** The worker reads an event in a version of the job format that it does not know. */
export class UnknownEventVersionError extends Error {
  override name = 'UnknownEventVersionError'
}

/** Not started: call `run()`. */
export function createInboundWorker(deps: InboundWorkerDeps): InboundConsumer {
  const { backend, store, normalize, concurrency, observer } = deps
  let pausedUntil = 0

  function pause(cause: unknown): InboundJobResult {
    // Every job of the batch comes here; the first one tells.
    if (performance.now() >= pausedUntil) {
      pausedUntil = performance.now() + PAUSE_MS
      observer.onPause(cause, PAUSE_MS)
    }
    return { outcome: 'retry', pauseMs: PAUSE_MS }
  }

  function itemOf(job: TakenJob): StoreItem {
    if (isEmptied(job)) return emptiedItem(job)
    const event = readEvent(job.data)
    return { job_id: job.id, event, fact: normalize(event) }
  }

  async function process(job: TakenJob): Promise<InboundJobResult> {
    const item = itemOf(job)
    const result = await store.store(item)
    observer.onOutcome(result.outcome, item.event)
    if (result.outcome === 'retry') return pause(result.cause)
    // The queue would take the event for one that it has, and drop it if it comes again.
    return { outcome: result.outcome, removeWhenDone: isEmptied(job) }
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
