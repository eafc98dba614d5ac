/**
 * The consumer of the queue `inbound` on Redis: takes jobs in batches, and ends a batch in the call that takes the next.
 *
 * The first job after a silence is taken at once. While more come, batches follow each other at an interval, because a
 * batch costs nearly the same whatever its size: that halves what a message costs at a steady rate (docs/benchmarks.md).
 * When they come faster than that, full batches follow each other without a pause, two at a time, so that one is prepared
 * while the other waits for the database.
 *
 * What a batch holds is locked, and kept locked for as long as it takes; when this process dies, another consumer finds its
 * locks run out and puts back what it held.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { InboundConsumer, InboundConsumerOptions, InboundJobResult, TakenJob } from '../backend.ts'
import type { InboundJobs, Settled } from './inbound-jobs.ts'

export type BatchConsumerOptions = InboundConsumerOptions & {
  jobs: InboundJobs
  /** How often to say that what is held is still being worked on. */
  holdIntervalMs: number
  /** How often to look for jobs that have lost their consumer. */
  recoverIntervalMs: number
  /** What went wrong with Redis; it is tried again. */
  onError: (err: Error) => void
}

const BATCHES_IN_FLIGHT = 2
const MAX_BATCH_JOBS = 256
/** How long a message waits for others at most, once it has been acknowledged. */
const GATHER_MS = 100
/** How soon Redis is asked again after it said no. */
const ERROR_PAUSE_MS = 500

/** Not started: call `run()`. */
export function createBatchConsumer(options: BatchConsumerOptions): InboundConsumer {
  const { jobs, concurrency, onError } = options
  const batches = Math.min(BATCHES_IN_FLIGHT, concurrency)
  const maxJobs = Math.min(MAX_BATCH_JOBS, Math.floor(concurrency / batches))
  const closing = new AbortController()
  const { signal } = closing
  let timers: NodeJS.Timeout[] = []
  let running: Promise<unknown> = Promise.resolve()
  let helping: Promise<void> | undefined

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const startedAt = performance.now()
      const batch = await take()
      if (batch.length === 0) await persist(() => jobs.wait(signal))
      else {
        await workThrough(batch)
        await pause(GATHER_MS - (performance.now() - startedAt))
      }
    }
  }

  /** Until a batch is not full: nothing is left for the moment. */
  async function workThrough(first: TakenJob[]): Promise<void> {
    for (let batch = first; batch.length > 0; ) {
      const isFull = batch.length === maxJobs
      if (isFull) help()
      batch = await workOn(batch, isFull)
    }
  }

  /** A second batch beside the first one, as long as there is more than one. */
  function help(): void {
    if (batches === 1) return
    helping ??= take()
      .then(workThrough)
      .then(() => {
        helping = undefined
      })
  }

  async function take(): Promise<TakenJob[]> {
    return (await persist(() => jobs.take(maxJobs))) ?? []
  }

  /** Gives the next batch, where it is wanted, there is one, and this one did not have to go back. */
  async function workOn(batch: readonly TakenJob[], isNextWanted: boolean): Promise<TakenJob[]> {
    const settled = await Promise.all(batch.map((job) => settle(job, options)))
    const pauseMs = Math.max(...settled.map((ended) => ended.pauseMs ?? 0))
    const next = await persist(() => {
      const most = isNextWanted && pauseMs === 0 && !signal.aborted ? maxJobs : 0
      return jobs.settle(settled, most)
    })
    if (pauseMs > 0) await pause(pauseMs)
    return next ?? []
  }

  /** Until Redis has done it; undefined when it cannot any more before the end. */
  async function persist<Result>(step: () => Promise<Result>): Promise<Result | undefined> {
    for (;;) {
      try {
        return await step()
      } catch (err) {
        if (signal.aborted) return undefined
        onError(err instanceof Error ? err : new Error(String(err)))
        await pause(ERROR_PAUSE_MS)
      }
    }
  }

  async function pause(ms: number): Promise<void> {
    if (ms > 0) await delay(ms, undefined, { signal }).catch(() => {})
  }

  /** Not again while Redis still has to answer. */
  function repeat(intervalMs: number, task: () => Promise<void>): NodeJS.Timeout {
    let isRunning = false
    return setInterval(async () => {
      if (isRunning) return
      isRunning = true
      await persist(task)
      isRunning = false
    }, intervalMs)
  }

  return {
    run: () => {
      timers = [
        repeat(options.holdIntervalMs, () => jobs.hold()),
        repeat(options.recoverIntervalMs, () => jobs.recover()),
      ]
      running = run()
    },
    close: async () => {
      closing.abort()
      await running
      await helping
      for (const timer of timers) clearInterval(timer)
    },
  }
}

/** Never rejects: whatever is thrown ends the job as failed. */
async function settle(
  job: TakenJob,
  { process, onFailed }: InboundConsumerOptions,
): Promise<Settled & { pauseMs?: number }> {
  try {
    if (job.failedAs !== undefined) throw new Error(job.failedAs)
    return { id: job.id, ...verdictOf(await process(job)) }
  } catch (cause) {
    const err = cause instanceof Error ? cause : new Error(String(cause))
    onFailed(err, job.id)
    return { id: job.id, verdict: 'failed', value: err.message }
  }
}

function verdictOf(result: InboundJobResult): Omit<Settled, 'id'> & { pauseMs?: number } {
  if (result.outcome === 'retry') return { verdict: 'back', value: '', pauseMs: result.pauseMs }
  return {
    verdict: result.removeWhenDone === true ? 'forgotten' : 'completed',
    value: JSON.stringify(result.outcome),
  }
}
