/** The jobs of the queue `inbound` on Redis, as one consumer reserves and completes them. */
import { randomUUID } from 'node:crypto'
import type { Cluster, Redis } from 'ioredis'
import type { ReservedJob } from '../backend.ts'
import { inboundKeys } from './keys.ts'
import { prepareAllowOomScript } from './prepare-script.ts'
import { COMPLETE, EXTEND_LOCKS, REQUEUE_STALLED, RESERVE } from './scripts.ts'

/**
 * How a job ends. `completed` and `failed` jobs are kept, so that the queue drops their duplicates; `requeued` ones come next;
 * `delayed` ones wait for a time, and then behind all others; `removed` ones leave no trace.
 */
export type Verdict = 'completed' | 'failed' | 'requeued' | 'delayed' | 'removed'

/** `value`: the value that a completed job returned, as JSON, the reason why a job failed, or its delay in milliseconds. */
export type ProcessedJob = { id: string; verdict: Verdict; value: string }

/**
 * Every call throws the error of Redis or of the connection, and can then be repeated: when an answer is lost, the jobs
 * reserved in it are requeued once their lock has expired.
 */
export type InboundJobs = {
  /** Reserves up to `maxJobs` jobs, oldest first. */
  reserve(maxJobs: number): Promise<ReservedJob[]>
  /** Completes the jobs that this consumer still has reserved, and reserves up to `maxJobs` next ones. */
  complete(processed: readonly ProcessedJob[], maxJobs: number): Promise<ReservedJob[]>
  /** Extends the locks of all jobs that are reserved and not completed. Call it well within `lockMs`. */
  extendLocks(): Promise<void>
  /** Resolves when there may be jobs, after some seconds, or when the signal aborts. */
  wait(signal: AbortSignal): Promise<void>
  /** Requeues active jobs whose lock has expired. Every consumer calls it on an interval; one of them does the work. */
  requeueStalled(): Promise<void>
}

export type InboundJobsOptions = {
  /** A client that never repeats a command by itself: each call to reserve has a lock of its own. */
  client: Redis | Cluster
  /** A connection of its own, because it blocks. */
  waitingClient: Redis | Cluster
  lockMs: number
  /** How often one of the consumers looks for stalled jobs, and how many times a job may stall. */
  stalled: { intervalMs: number; maxCount: number }
  /** For how many seconds, and how many, completed jobs are kept: the queue drops duplicates of these. */
  keepCompleted: { age: number; count: number }
}

/** Limits of one script. Redis serves nobody else while it runs one, and receivers wait for Redis to acknowledge. */
const MAX_JOBS_PER_SCRIPT = 64
const MAX_BYTES_PER_SCRIPT = 1024 * 1024
/** How long Redis keeps a waiting consumer's command open while the queue is empty. */
const WAIT_SECONDS = 3
const MIN_WAIT_SECONDS = 0.05

export function openInboundJobs(options: InboundJobsOptions): InboundJobs {
  const { client, waitingClient, lockMs, stalled, keepCompleted } = options
  const { prefix, wait, active, marker, meta, delayed, stalledCheck, completed, failed } = inboundKeys()
  const runReserve = prepareAllowOomScript(client, RESERVE)
  const runComplete = prepareAllowOomScript(client, COMPLETE)
  const runExtendLocks = prepareAllowOomScript(client, EXTEND_LOCKS)
  const runRequeueStalled = prepareAllowOomScript(client, REQUEUE_STALLED)
  const consumer = `${randomUUID()}.`
  /** Job id to name of its lock, of the jobs that this consumer works on. Jobs in an answer that was lost are not in it. */
  const lockOf = new Map<string, string>()
  let locks = 0
  /** When the next of the jobs that this consumer delayed is due. Those of others are found when `wait` has waited long enough. */
  let nextDueAt = Number.POSITIVE_INFINITY
  const reserveKeys = [wait, active, marker, meta, delayed]
  const completeKeys = [...reserveKeys, completed, failed]
  const keepArgs = [keepCompleted.age * 1000, keepCompleted.count]
  const nextLock = () => `${consumer}${++locks}`

  function reserveArgs(lock: string, maxJobs: number) {
    return [prefix, lock, lockMs, Date.now(), maxJobs, MAX_BYTES_PER_SCRIPT]
  }

  async function reserveOnce(maxJobs: number): Promise<ReservedJob[]> {
    const lock = nextLock()
    return recordLock(lock, readJobs(await runReserve(reserveKeys, reserveArgs(lock, maxJobs))))
  }

  async function completeOnce(processed: readonly ProcessedJob[], maxJobs: number): Promise<ReservedJob[]> {
    const lock = nextLock()
    const ended = processed.flatMap(({ id, verdict, value }) => [id, verdict, value])
    const args = [...reserveArgs(lock, maxJobs), ...keepArgs, consumer, ...ended]
    const reply = await runComplete(completeKeys, args)
    for (const { verdict, value } of processed) {
      if (verdict === 'delayed') nextDueAt = Math.min(nextDueAt, Date.now() + Number(value))
    }
    for (const { id } of processed) lockOf.delete(id)
    return recordLock(lock, readJobs(reply))
  }

  function recordLock(lock: string, jobs: ReservedJob[]): ReservedJob[] {
    for (const { id } of jobs) lockOf.set(id, lock)
    return jobs
  }

  /** Adds to `reserved` until there are `maxJobs`, or no more. When a script fails, returns what is reserved by then. */
  async function reserveInSteps(reserved: ReservedJob[], maxJobs: number): Promise<ReservedJob[]> {
    while (reserved.length < maxJobs) {
      const wanted = Math.min(maxJobs - reserved.length, MAX_JOBS_PER_SCRIPT)
      const more = await reserveOnce(wanted).catch((err: unknown) => {
        if (reserved.length === 0) throw err
        return []
      })
      reserved.push(...more)
      if (more.length < wanted) break
    }
    return reserved
  }

  return {
    reserve: (maxJobs) => reserveInSteps([], maxJobs),
    complete: async (processed, maxJobs) => {
      const rest = processed.slice()
      while (rest.length > MAX_JOBS_PER_SCRIPT) await completeOnce(rest.splice(0, MAX_JOBS_PER_SCRIPT), 0)
      const reserved = await completeOnce(rest, Math.min(maxJobs, MAX_JOBS_PER_SCRIPT))
      return reserved.length === MAX_JOBS_PER_SCRIPT ? reserveInSteps(reserved, maxJobs) : reserved
    },
    extendLocks: async () => {
      const locks = [...new Set(lockOf.values())].map((lock) => `${prefix}taken:${lock}`)
      if (locks.length > 0) await runExtendLocks(locks, [Date.now(), lockMs])
    },
    wait: async (signal) => {
      if (signal.aborted) return
      const { promise: stopped, resolve: stop } = Promise.withResolvers<void>()
      const stopWaiting = () => stop()
      signal.addEventListener('abort', stopWaiting)
      const seconds = Math.min(WAIT_SECONDS, Math.max(MIN_WAIT_SECONDS, (nextDueAt - Date.now()) / 1000))
      await Promise.race([waitingClient.bzpopmin(marker, seconds), stopped]).finally(() =>
        signal.removeEventListener('abort', stopWaiting),
      )
      // The next call to reserve finds it.
      if (Date.now() >= nextDueAt) nextDueAt = Number.POSITIVE_INFINITY
    },
    requeueStalled: async () => {
      const keys = [wait, active, marker, stalledCheck]
      // A little less than the interval: otherwise every other call would come just before the last one has expired.
      const intervalMs = Math.round(stalled.intervalMs * 0.8)
      await runRequeueStalled(keys, [prefix, intervalMs, Date.now(), stalled.maxCount])
    },
  }
}

/** Redis answers with three values for each job: id, data, and the reason to fail it. */
function readJobs(reply: unknown): ReservedJob[] {
  const fields = Array.isArray(reply) ? reply : []
  const jobs: ReservedJob[] = []
  for (let i = 0; i < fields.length; i += 3) {
    const [id, data, failedReason] = fields.slice(i, i + 3)
    const job: ReservedJob = { id: String(id), data: readData(data) }
    // Damaged data is parked unread, so it cannot have killed its workers. BullMQ could not read the failed job either.
    const isToFail = typeof failedReason === 'string' && typeof job.data !== 'string'
    jobs.push(isToFail ? { ...job, failedReason } : job)
  }
  return jobs
}

/**
 * An empty object when Redis has evicted the job, as BullMQ reads it. The text itself when it is not JSON: an error here would
 * take every job reserved with this one.
 */
function readData(data: unknown): unknown {
  if (typeof data !== 'string') return {}
  try {
    return JSON.parse(data)
  } catch {
    return data
  }
}
