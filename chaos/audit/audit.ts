/**
 * The auditor: waits until nothing that was acknowledged is missing and the queue has come to rest, and only then looks
 * at every row. A second copy could still be on its way when the first is stored.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Queue } from 'bullmq'
import pg from 'pg'
import type { QueueBackend } from '../../src/queue/backend.ts'
import type { Ledger } from '../load/ledger.ts'
import { openQueueBackend } from '../queue.ts'
import type { World } from '../world/world.ts'
import { findMissing, readStoredRows } from './stored-rows.ts'
import { judge, type Verdict } from './verdict.ts'

export type Auditor = {
  /**
   * How many of the events that were acknowledged before `before` are not stored, those that may be lost not counted.
   * Throws while the database is away.
   */
  countMissing(before?: number): Promise<number>
  /** Waits, then judges. */
  audit(): Promise<Audit>
  queueCounts(): Promise<Record<string, number>>
  /** Of the events whose jobs have ended last, how many had to be taken more than once. */
  takenTwice(): Promise<number>
  close(): Promise<void>
}

export type Audit = Verdict & {
  /** Jobs that have not ended, by state; empty when all have. */
  unfinishedJobs: Record<string, number>
}

export type AuditorOptions = {
  world: World
  ledger: Ledger
  signal: AbortSignal
  /** Gives up when nothing more was stored, or taken off the queue, for so long. */
  patienceMs: number
}

const KEYS_A_QUERY = 2_000
const POLL_MS = 200
const LATEST_JOBS = 500
const ENDED_STATES = new Set(['completed'])

export function createAuditor({ world, ledger, signal, patienceMs }: AuditorOptions): Auditor {
  const pool = new pg.Pool({ connectionString: world.postgres.url, max: 2, connectionTimeoutMillis: 5_000 })
  pool.on('error', () => {})
  // Opened when it is first needed: the faults before that would hit this connection as well.
  let opened: { backend: QueueBackend; queue: Queue } | undefined
  async function countMissing(before = Number.POSITIVE_INFINITY): Promise<number> {
    const wanted = [...ledger.awaited]
      .filter(([, entry]) => (entry.acknowledgedAt ?? 0) <= before && !ledger.isExcused(entry))
      .map(([key]) => key)
    let missing = 0
    for (let start = 0; start < wanted.length; start += KEYS_A_QUERY) {
      const keys = wanted.slice(start, start + KEYS_A_QUERY)
      const absent = new Set(await findMissing(pool, keys))
      for (const key of keys) if (!absent.has(key)) ledger.awaited.delete(key)
      missing += absent.size
    }
    return missing
  }

  async function queueCounts(): Promise<Record<string, number>> {
    const counts = await inbound().getJobCounts()
    return Object.fromEntries(
      Object.entries(counts).filter(([state, count]) => count > 0 && !ENDED_STATES.has(state)),
    )
  }

  async function takenTwice(): Promise<number> {
    const jobs = await inbound().getCompleted(0, LATEST_JOBS)
    return jobs.filter(({ attemptsStarted }) => attemptsStarted > 1).length
  }

  function inbound(): Queue {
    opened ??= openQueue(world)
    return opened.queue
  }

  /** Until nothing is missing and no job is left, or neither changes any more. */
  async function waitForRest(): Promise<Record<string, number>> {
    let lastChangeAt = performance.now()
    let before = ''
    for (;;) {
      signal.throwIfAborted()
      const missing = await countMissing()
      const counts = await queueCounts()
      const isAtRest = Object.keys(counts).length === 0
      if (isAtRest && missing === 0) return counts
      const after = JSON.stringify([missing, counts])
      if (after !== before) lastChangeAt = performance.now()
      before = after
      if (performance.now() - lastChangeAt > patienceMs) return counts
      await sleep(POLL_MS, undefined, { signal })
    }
  }

  return {
    countMissing,
    queueCounts,
    takenTwice,
    audit: async () => {
      const unfinishedJobs = await waitForRest()
      return { ...judge(ledger, await readStoredRows(pool)), unfinishedJobs }
    },
    close: async () => {
      await Promise.allSettled([opened?.backend.close(), pool.end()])
    },
  }
}

function openQueue(world: World): { backend: QueueBackend; queue: Queue } {
  const backend = openQueueBackend(world)
  return { backend, queue: backend.createQueue('inbound') }
}
