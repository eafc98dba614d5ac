/**
 * The consumer of the queue `inbound` on Redis: reserves jobs in batches, and completes a batch in the call that reserves
 * the next.
 *
 * It reserves the first job after a silence at once. While more jobs come, batches follow each other at an interval, because
 * a batch costs nearly the same whatever its size: that halves the cost of a message at a steady rate (docs/benchmarks.md).
 * When jobs come faster than that, full batches follow each other without a pause, two at a time, so that one is prepared
 * while the other waits for the database.
 *
 * The jobs of a batch are locked, and their locks are extended for as long as the batch takes. When this process dies, its
 * locks expire and another consumer requeues its jobs.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { runEvery } from '../../lifecycle/run-every.ts'
import type { InboundConsumer, InboundConsumerOptions, InboundJobResult, ReservedJob } from '../backend.ts'
import type { InboundJobs, ProcessedJob } from './inbound-jobs.ts'

export type BatchConsumerOptions = InboundConsumerOptions & {
  jobs: InboundJobs
  extendLocksIntervalMs: number
  requeueStalledIntervalMs: number
  /** Called with each error of Redis; the consumer tries again. */
  onError: (err: Error) => void
}

const BATCHES_IN_FLIGHT = 2
const MAX_BATCH_JOBS = 256
/** How long an acknowledged message waits at most for others to share its batch. */
const GATHER_MS = 100
/** How long the consumer waits after an error of Redis before it tries again. */
const ERROR_PAUSE_MS = 500

/** Not started: call `run()`. */
export function createBatchConsumer(options: BatchConsumerOptions): InboundConsumer {
  const { jobs, concurrency, onError } = options
  const maxBatches = Math.min(BATCHES_IN_FLIGHT, concurrency)
  const maxJobs = Math.min(MAX_BATCH_JOBS, Math.floor(concurrency / maxBatches))
  const closing = new AbortController()
  const { signal } = closing
  const closed = new AbortController()
  let running: Promise<unknown> = Promise.resolve()
  let secondBatch: Promise<void> | undefined

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const startedAt = performance.now()
      const batch = await reserve()
      if (batch.length === 0) await untilItSucceeds(() => jobs.wait(signal))
      else {
        await processBatches(batch)
        await pause(GATHER_MS - (performance.now() - startedAt))
      }
    }
  }

  /** Processes this batch and those after it, until one is not full: then the queue is empty for the moment. */
  async function processBatches(first: ReservedJob[]): Promise<void> {
    for (let batch = first; batch.length > 0; ) {
      const isFull = batch.length === maxJobs
      if (isFull) startSecondBatch()
      batch = await processBatch(batch, isFull)
    }
  }

  function startSecondBatch(): void {
    if (maxBatches === 1) return
    secondBatch ??= reserve()
      .then(processBatches)
      .then(() => {
        secondBatch = undefined
      })
  }

  async function reserve(): Promise<ReservedJob[]> {
    return (await untilItSucceeds(() => jobs.reserve(maxJobs))) ?? []
  }

  /** Returns the next batch. It is empty when `isNextWanted` is false, the queue is empty, or jobs had to be requeued. */
  async function processBatch(batch: readonly ReservedJob[], isNextWanted: boolean): Promise<ReservedJob[]> {
    const processed = await Promise.all(batch.map((job) => processJob(job, options)))
    const pauseMs = Math.max(...processed.map((job) => job.pauseMs ?? 0))
    const next = await untilItSucceeds(() => {
      const wanted = isNextWanted && pauseMs === 0 && !signal.aborted ? maxJobs : 0
      return jobs.complete(processed, wanted)
    })
    if (pauseMs > 0) await pause(pauseMs)
    return next ?? []
  }

  /** Repeats a call to Redis until it succeeds. Returns undefined when it still fails after `close()`. */
  async function untilItSucceeds<Result>(call: () => Promise<Result>): Promise<Result | undefined> {
    for (;;) {
      try {
        return await call()
      } catch (err) {
        if (signal.aborted) return undefined
        report(err)
        await pause(ERROR_PAUSE_MS)
      }
    }
  }

  function report(err: unknown): void {
    onError(err instanceof Error ? err : new Error(String(err)))
  }

  async function pause(ms: number): Promise<void> {
    if (ms > 0) await delay(ms, undefined, { signal }).catch(() => {})
  }

  function repeat(intervalMs: number, call: () => Promise<void>): void {
    void runEvery(intervalMs, () => untilItSucceeds(call), closed.signal, report)
  }

  return {
    run: () => {
      repeat(options.extendLocksIntervalMs, () => jobs.extendLocks())
      repeat(options.requeueStalledIntervalMs, () => jobs.requeueStalled())
      running = run()
    },
    close: async () => {
      closing.abort()
      await running
      await secondBatch
      // Not before: the locks of the last batches are extended until these are completed.
      closed.abort()
    },
  }
}

/** Never rejects: an error fails the job. */
async function processJob(
  job: ReservedJob,
  { process, onFailed }: InboundConsumerOptions,
): Promise<ProcessedJob & { pauseMs?: number }> {
  try {
    if (job.failedReason !== undefined) throw new Error(job.failedReason)
    return { id: job.id, ...verdictOf(await process(job)) }
  } catch (cause) {
    const err = cause instanceof Error ? cause : new Error(String(cause))
    onFailed(err, job.id)
    return { id: job.id, verdict: 'failed', value: err.message }
  }
}

function verdictOf(result: InboundJobResult): Omit<ProcessedJob, 'id'> & { pauseMs?: number } {
  if (result.outcome === 'retry') {
    const { pauseMs, delayMs } = result
    if (delayMs === undefined) return { verdict: 'requeued', value: '', pauseMs }
    return { verdict: 'delayed', value: String(Math.ceil(delayMs)), pauseMs }
  }
  return {
    verdict: result.removeWhenDone === true ? 'removed' : 'completed',
    value: JSON.stringify(result.outcome),
  }
}
