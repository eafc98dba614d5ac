/** What the queues run on: Redis, or BullMQ's PostgreSQL backend. test/contract/queue.contract.ts holds for both. */
import type { Job, Queue, Worker } from 'bullmq'
import type { InboundJob } from '../core/event.ts'
import type { FinalOutcome } from '../core/outcome.ts'
import type { SettingFinding } from '../core/setting-finding.ts'
import type { QueueName } from './names.ts'

export type QueueWorkerOptions = { concurrency: number }

/**
 * Adds events to the queue `inbound` in one round trip, and resolves when they are durable there. `dropped`: how many of
 * them were there already, about; it may be known only later.
 * @throws when the backend is away; some of the events may be there all the same.
 */
export type AddInbound = (jobs: readonly InboundJob[]) => Promise<{ dropped: Promise<number> }>

/** `data`: what was added; `{}` where the backend has lost it. `failedAs`: why it is to be failed unseen. */
export type TakenJob = { id: string; data: unknown; failedAs?: string }

/**
 * How a job ends that was processed; an error that is thrown fails it.
 * - a final outcome: the job is completed, and kept for a while so that the queue drops its duplicates. With
 *   `removeWhenDone` it is removed at once, and its event can be added again.
 * - `retry`: the job is requeued and has used up no attempt. The consumer reserves no job for `pauseMs`.
 */
export type InboundJobResult =
  | { outcome: FinalOutcome; removeWhenDone?: boolean }
  | { outcome: 'retry'; pauseMs: number }

export type InboundConsumerOptions = {
  concurrency: number
  process: (job: TakenJob) => Promise<InboundJobResult>
  onFailed: (err: Error, jobId: string | undefined) => void
}

export type InboundConsumer = {
  run(): void
  /** Takes nothing more, and resolves when what is under way has ended. */
  close(): Promise<void>
}

export type QueueBackend = {
  kind: 'redis' | 'postgres'
  /** Fails at once when the backend is away, and works again when it is back. */
  createInboundAdd(): AddInbound
  /** Not started: call `run()`. Waits for the backend as long as it is away. */
  createInboundConsumer(options: InboundConsumerOptions): InboundConsumer
  /** A queue that fails at once when the backend is away, and works again when it is back. For the receiver. */
  createProducerQueue(name: QueueName): Queue
  /** A queue for look-ups and maintenance. */
  createQueue(name: QueueName): Queue
  /** Not started: call `run()`. Waits for the backend as long as it is away. */
  createWorker(
    name: QueueName,
    processor: (job: Job) => Promise<unknown>,
    options: QueueWorkerOptions,
  ): Worker
  /** Resolves when the backend answers. */
  ping(): Promise<void>
  /** Resolves when every connection opened so far is usable; waits as long as the backend is away. */
  ready(): Promise<void>
  /**
   * The share of its memory that the backend has used, from 0 to 1, or undefined where there is no limit. From a full Redis
   * not every worker can take jobs, so the receiver stops adding well before (memory-guard.ts).
   */
  memoryUsed(): Promise<number | undefined>
  /** Settings under which "acknowledged" does not mean "on disk". */
  checkSafety(): Promise<SettingFinding[]>
  close(): Promise<void>
}

/**
 * A killed worker's jobs are picked up when their locks have run out and somebody looks: within the sum of the two. Shorter,
 * and a busy event loop loses locks that it still needs; a job that then runs twice is caught by the database.
 */
export const LOCK_MS = 5_000
export const STALLED_INTERVAL_MS = 2_500
/** Crashes that a job survives before it is failed, run alone and parked. Innocent jobs stall beside a poisonous one. */
export const MAX_STALLED_COUNT = 10

/** What every worker is made with, whatever its backend. */
export function workerSettings({ concurrency }: QueueWorkerOptions) {
  return {
    autorun: false,
    concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_INTERVAL_MS,
    maxStalledCount: MAX_STALLED_COUNT,
    // How soon a worker that lost its backend tries again; BullMQ's 15 s would be most of an outage.
    runRetryDelay: 1_000,
  }
}
