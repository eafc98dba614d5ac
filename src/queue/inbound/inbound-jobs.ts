/** The jobs of the queue `inbound` on Redis, as one consumer takes and ends them. */
import { randomUUID } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import type { TakenJob } from '../backend.ts'
import { inboundKeys } from './keys.ts'
import { prepareRelief } from './run-script.ts'
import { HOLD, RECOVER, SETTLE, TAKE } from './scripts.ts'

/** `back`: to the queue, to be taken again. `forgotten`: as if it had never been there. */
export type Verdict = 'completed' | 'failed' | 'back' | 'forgotten'

/** `value`: what a completed job returned, as JSON, or why a job failed. */
export type Settled = { id: string; verdict: Verdict; value: string }

/**
 * All of it throws what Redis says and when the connection breaks, and can be called again then: what a lost answer named
 * is put back when its lock has run out.
 */
export type InboundJobs = {
  /** Up to so many, oldest first. */
  take(most: number): Promise<TakenJob[]>
  /** Ends those that are still ours, and takes the next. */
  settle(settled: readonly Settled[], most: number): Promise<TakenJob[]>
  /** Says that what was taken and not settled is still being worked on. To be called again and again, or it is given away. */
  hold(): Promise<void>
  /** Resolves when there may be jobs, after some seconds, or at the signal. */
  wait(signal: AbortSignal): Promise<void>
  /** Puts back what a consumer held that is gone. To be called by every consumer, again and again; one of them does it. */
  recover(): Promise<void>
}

export type InboundJobsOptions = {
  /** One that sends nothing again by itself: each take has a lock of its own. */
  client: Redis | Cluster
  /** A connection of its own: it blocks. */
  waitingClient: Redis | Cluster
  lockMs: number
  /** How often somebody looks for jobs that have lost their consumer, and how many times one may lose it. */
  recovery: { intervalMs: number; maxLosses: number }
  /** Completed jobs are what the first net still recognises: for so many seconds, and so many of them. */
  keepCompleted: { age: number; count: number }
}

/** In one script, because nobody else is served meanwhile: a receiver waits for Redis before it can acknowledge. */
const MAX_STEP_JOBS = 64
const MAX_STEP_BYTES = 1024 * 1024
/** How long Redis holds its answer back while there is nothing to do. */
const WAIT_SECONDS = 3

export function openInboundJobs(options: InboundJobsOptions): InboundJobs {
  const { client, waitingClient, lockMs, recovery, keepCompleted } = options
  const { prefix, wait, active, marker, meta, stalledCheck, completed, failed } = inboundKeys()
  const take = prepareRelief(client, TAKE)
  const settle = prepareRelief(client, SETTLE)
  const hold = prepareRelief(client, HOLD)
  const recover = prepareRelief(client, RECOVER)
  const consumer = `${randomUUID()}.`
  /** What this consumer knows to be its own, with the lock of each job. What a lost answer named is not among them. */
  const held = new Map<string, string>()
  let takes = 0
  const takeKeys = [wait, active, marker, meta]
  const settleKeys = [...takeKeys, completed, failed]
  const takeArgs = (lock: string, most: number) => [prefix, lock, lockMs, Date.now(), most, MAX_STEP_BYTES]
  const keepArgs = [keepCompleted.age * 1000, keepCompleted.count]
  const nextLock = () => `${consumer}${++takes}`

  async function takeStep(most: number): Promise<TakenJob[]> {
    const lock = nextLock()
    return remember(lock, readJobs(await take(takeKeys, takeArgs(lock, most))))
  }

  async function settleStep(ended: readonly Settled[], most: number): Promise<TakenJob[]> {
    const lock = nextLock()
    const verdicts = ended.flatMap(({ id, verdict, value }) => [id, verdict, value])
    const reply = await settle(settleKeys, [...takeArgs(lock, most), ...keepArgs, consumer, ...verdicts])
    for (const { id } of ended) held.delete(id)
    return remember(lock, readJobs(reply))
  }

  function remember(lock: string, jobs: TakenJob[]): TakenJob[] {
    for (const { id } of jobs) held.set(id, lock)
    return jobs
  }

  /** Until there are enough, or no more, or a step fails: what is held by then has to be worked on. */
  async function takeInSteps(taken: TakenJob[], most: number): Promise<TakenJob[]> {
    while (taken.length < most) {
      const wanted = Math.min(most - taken.length, MAX_STEP_JOBS)
      const more = await takeStep(wanted).catch((err: unknown) => {
        if (taken.length === 0) throw err
        return []
      })
      taken.push(...more)
      if (more.length < wanted) break
    }
    return taken
  }

  return {
    take: (most) => takeInSteps([], most),
    settle: async (ended, most) => {
      const rest = ended.slice()
      while (rest.length > MAX_STEP_JOBS) await settleStep(rest.splice(0, MAX_STEP_JOBS), 0)
      const first = await settleStep(rest, Math.min(most, MAX_STEP_JOBS))
      return first.length === MAX_STEP_JOBS ? takeInSteps(first, most) : first
    },
    hold: async () => {
      const locks = [...new Set(held.values())].map((lock) => `${prefix}taken:${lock}`)
      if (locks.length > 0) await hold(locks, [Date.now(), lockMs])
    },
    wait: async (signal) => {
      const { promise: stopped, resolve: stop } = Promise.withResolvers<void>()
      const stopWaiting = () => stop()
      signal.addEventListener('abort', stopWaiting)
      await Promise.race([waitingClient.bzpopmin(marker, WAIT_SECONDS), stopped]).finally(() =>
        signal.removeEventListener('abort', stopWaiting),
      )
    },
    recover: async () => {
      const keys = [wait, active, marker, stalledCheck]
      // A little less, or who asks at every interval would find that it was just done, every other time.
      const restMs = Math.round(recovery.intervalMs * 0.8)
      await recover(keys, [prefix, restMs, Date.now(), recovery.maxLosses])
    },
  }
}

/** Id, data and BullMQ's reason against it, three values for each job. */
function readJobs(reply: unknown): TakenJob[] {
  const fields = Array.isArray(reply) ? reply : []
  const jobs: TakenJob[] = []
  for (let i = 0; i < fields.length; i += 3) {
    const [id, data, failedAs] = fields.slice(i, i + 3)
    const job: TakenJob = { id: String(id), data: readData(data) }
    jobs.push(typeof failedAs === 'string' ? { ...job, failedAs } : job)
  }
  return jobs
}

/** Empty where Redis has evicted the job, as BullMQ reads it. */
function readData(data: unknown): unknown {
  return JSON.parse(typeof data === 'string' ? data : '{}')
}
