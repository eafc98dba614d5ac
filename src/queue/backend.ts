/**
 * The port of the queues. It has two implementations, Redis and BullMQ's PostgreSQL backend, and both keep the promises in
 * test/contract/queue.contract.ts.
 */
import type { Job, Queue, Worker } from 'bullmq'
import type { FinalOutcome, InboundJob } from '../core/event.ts'
import type { SettingFinding } from '../core/setting-finding.ts'
import type { QueueName } from './names.ts'

export type QueueBackend = {
  kind: 'redis' | 'postgres'
  /** Its connections fail at once while the backend is away, and work again when it is back. */
  createInboundAdd(): AddInbound
  /** Not started: call `run()`. Waits for the backend as long as it is away. */
  createInboundConsumer(options: InboundConsumerOptions): InboundConsumer
  /** BullMQ's queue for receivers: fails at once while the backend is away, and works again when it is back. */
  createProducerQueue(name: QueueName): Queue
  /** BullMQ's queue for reading and changing jobs. */
  createQueue(name: QueueName): Queue
  /**
   * BullMQ's worker. Not started: call `run()`. Waits for the backend as long as it is away.
   *
   * It fetches up to `concurrency` jobs, one round trip after another, before it starts the first one, and does not extend
   * their locks meanwhile. So `concurrency` round trips must take less than `LOCK_MS`.
   */
  createWorker(
    name: QueueName,
    processor: (job: Job) => Promise<unknown>,
    options: QueueWorkerOptions,
  ): Worker
  /** Resolves when the backend answers. */
  ping(): Promise<void>
  /** Resolves when every connection opened so far is usable; waits as long as the backend is away. */
  ready(): Promise<void>
  /** The used share of the backend's memory, from 0 to 1; undefined when the backend has no limit (memory-guard.ts). */
  memoryUsed(): Promise<number | undefined>
  /** Settings under which the backend acknowledges what is not on disk. */
  checkSafety(): Promise<SettingFinding[]>
  close(): Promise<void>
}

/**
 * Adds events to the queue `inbound` in one round trip, and resolves when they are durable there. `dropped` is about the
 * number of duplicates among them; it can take longer than the add.
 * @throws when the backend is away; some of the events may have been added all the same.
 */
export type AddInbound = (jobs: readonly InboundJob[]) => Promise<{ dropped: Promise<number> }>

/**
 * `data`: what was added; `{}` when Redis has evicted it; its text when it is not JSON. `failedReason`: the consumer fails the
 * job with it and does not process it, because its workers have died too often.
 */
export type ReservedJob = { id: string; data: unknown; failedReason?: string }

/**
 * How the processing of a job ended; an error thrown by it fails the job.
 * - a final outcome: the job is completed, and kept for a while so that the queue drops its duplicates. With
 *   `removeWhenDone` it is removed at once, and its event can be added again.
 * - `retry`: the job is requeued, which uses up no attempt. The consumer reserves no job for `pauseMs`; with 0 it
 *   goes on with the others. With `delayMs` the job is not reserved before that time, and the others go first.
 */
export type InboundJobResult =
  | { outcome: FinalOutcome; removeWhenDone?: boolean }
  | { outcome: 'retry'; pauseMs: number; delayMs?: number }

export type InboundConsumerOptions = {
  /** How many jobs are processed at the same time. */
  concurrency: number
  process: (job: ReservedJob) => Promise<InboundJobResult>
  onFailed: (err: Error, jobId: string | undefined) => void
}

export type InboundConsumer = {
  run(): void
  /** Reserves no more jobs, and resolves when those that are reserved have ended. */
  close(): Promise<void>
}

export type QueueWorkerOptions = { concurrency: number }

/**
 * When a worker is killed, its locks expire after `LOCK_MS`, and another worker looks for stalled jobs every
 * `STALLED_INTERVAL_MS`: so its jobs run again within the sum of the two. With shorter times, a busy event loop would lose
 * locks of jobs that it still runs. Such a job runs twice, and the database drops the duplicate.
 */
export const LOCK_MS = 5_000
export const STALLED_INTERVAL_MS = 2_500
/**
 * How many crashes a job survives before it is failed, run alone and parked (worker/failed-job-sweep.ts). Few, because each
 * crash of a job that kills its worker leaves the sends under way in doubt. Harmless jobs that run beside it stall with it:
 * the sweep stores them, some seconds later.
 */
export const MAX_STALLED_COUNT = 2

/** The options of every BullMQ worker on both backends. */
export function workerSettings({ concurrency }: QueueWorkerOptions) {
  return {
    autorun: false,
    concurrency,
    lockDuration: LOCK_MS,
    stalledInterval: STALLED_INTERVAL_MS,
    maxStalledCount: MAX_STALLED_COUNT,
    // How soon a worker that lost its backend tries again; BullMQ's 15 s would prolong most outages.
    runRetryDelay: 1_000,
  }
}
