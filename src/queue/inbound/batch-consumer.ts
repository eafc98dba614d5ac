/**
 * The consumer of the queue `inbound` on Redis: takes jobs in batches, and ends a batch in the call that takes the next.
 *
 * Two batches are under way at a time, so that one is prepared while the other waits for the database. What a batch holds
 * is locked, and kept locked for as long as it takes; when this process dies, another consumer finds its locks run out and
 * puts it back.
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
/** How soon Redis is asked again after it said no. */
const ERROR_PAUSE_MS = 500

/** Not started: call `run()`. */
export function createBatchConsumer(options: BatchConsumerOptions): InboundConsumer {
  const { jobs, concurrency, onError } = options
  const batches = Math.min(BATCHES_IN_FLIGHT, concurrency)
  const maxJobs = Math.min(MAX_BATCH_JOBS, Math.floor(concurrency / batches))
  const closing = new AbortController()
  const { signal } = closing
  const held = new Set<string>()
  let waiting: Promise<void> | undefined
  let timers: NodeJS.Timeout[] = []
  let running: Promise<unknown> = Promise.resolve()

  async function workOff(): Promise<void> {
    while (!signal.aborted) {
      let batch = (await persist(() => jobs.take(maxJobs))) ?? []
      if (batch.length === 0) await waitForJobs()
      while (batch.length > 0) batch = await workOn(batch)
    }
  }

  /** Gives the next batch; empty where there is none, or where this one had to go back. */
  async function workOn(batch: readonly TakenJob[]): Promise<TakenJob[]> {
    for (const { id } of batch) held.add(id)
    const settled = await Promise.all(batch.map((job) => settle(job, options)))
    const pauseMs = Math.max(...settled.map(({ putBackForMs = 0 }) => putBackForMs))
    const next = await persist(() => jobs.settle(settled, pauseMs > 0 || signal.aborted ? 0 : maxJobs))
    for (const { id } of batch) held.delete(id)
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

  function waitForJobs(): Promise<void> {
    waiting ??= persist(() => jobs.wait(signal)).then(() => {
      waiting = undefined
    })
    return waiting
  }

  function pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal }).catch(() => {})
  }

  const hold = () => (held.size > 0 ? jobs.hold([...held]).catch(onError) : undefined)
  const recover = () => jobs.recover().catch(onError)

  return {
    run: () => {
      timers = [setInterval(hold, options.holdIntervalMs), setInterval(recover, options.recoverIntervalMs)]
      running = Promise.all(Array.from({ length: batches }, workOff))
    },
    close: async () => {
      closing.abort()
      await running
      for (const timer of timers) clearInterval(timer)
    },
  }
}

/** Never rejects: whatever is thrown ends the job as failed. */
async function settle(
  job: TakenJob,
  { process, onFailed }: InboundConsumerOptions,
): Promise<Settled & { putBackForMs?: number }> {
  try {
    if (job.failedAs !== undefined) throw new Error(job.failedAs)
    return { id: job.id, ...verdictOf(await process(job)) }
  } catch (cause) {
    const err = cause instanceof Error ? cause : new Error(String(cause))
    onFailed(err, job.id)
    return { id: job.id, verdict: 'failed', value: err.message }
  }
}

function verdictOf(result: InboundJobResult): Omit<Settled, 'id'> & { putBackForMs?: number } {
  if ('putBackForMs' in result) return { verdict: 'back', value: '', putBackForMs: result.putBackForMs }
  return {
    verdict: result.isForgotten === true ? 'forgotten' : 'completed',
    value: JSON.stringify(result.outcome),
  }
}
