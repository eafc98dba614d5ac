/** What the queues run on: Redis, or BullMQ's PostgreSQL backend. test/contract/queue.contract.ts holds for both. */
import type { Job, Queue, QueueEvents, Worker } from 'bullmq'
import type { SettingFinding } from '../core/setting-finding.ts'
import type { QueueName } from './names.ts'

export type QueueWorkerOptions = { concurrency: number }

export type QueueBackend = {
  kind: 'redis' | 'postgres'
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
  createQueueEvents(name: QueueName): QueueEvents
  /** Resolves when the backend answers. */
  ping(): Promise<void>
  /** Resolves when every connection opened so far is usable; waits as long as the backend is away. */
  ready(): Promise<void>
  /**
   * The share of its memory that the backend has used, from 0 to 1, or undefined where there is no limit. A worker whose
   * Redis is full stops for good, so the receiver stops adding well before.
   */
  memoryUsed(): Promise<number | undefined>
  /**
   * How many of these jobs, added with this timestamp, were dropped as duplicates. Only where BullMQ announces none: its
   * PostgreSQL backend, for jobs added in bulk.
   */
  countDropped?(name: string, ids: readonly string[], addedAt: number): Promise<number>
  /** Settings under which "acknowledged" does not mean "on disk". */
  checkSafety(): Promise<SettingFinding[]>
  close(): Promise<void>
}

/** What every worker is made with, whatever its backend. */
export function workerSettings({ concurrency }: QueueWorkerOptions) {
  return {
    autorun: false,
    concurrency,
    // A killed worker's jobs are picked up when their locks have run out and somebody looks: within the sum of the two.
    // Shorter, and a busy event loop loses locks that it still needs; a job that then runs twice is caught by the database.
    lockDuration: 5_000,
    stalledInterval: 2_500,
    // Crashes that a job survives before it is failed, run alone and parked. Innocent jobs stall beside a poisonous one.
    maxStalledCount: 10,
    // How soon a worker that lost its backend tries again; BullMQ's 15 s would be most of an outage.
    runRetryDelay: 1_000,
  }
}
