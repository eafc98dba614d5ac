/** The auditor of a scenario: the one of `simulate`, which here also waits for the queue and looks at whole rows. */
import type { Queue } from 'bullmq'
import { createAuditor as createRowAuditor } from '../../src/cli/simulate/auditor.ts'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import type { QueueBackend } from '../../src/queue/backend.ts'
import type { Ledger } from '../load/ledger.ts'
import { openQueueBackend } from '../queue.ts'
import type { World } from '../world/world.ts'
import { readStoredRows } from './stored-rows.ts'
import { judge, type Verdict } from './verdict.ts'

export type Auditor = {
  /**
   * How many of the events that were acknowledged before `before` are not stored. Those that may be lost are not counted.
   * @throws while the database is away.
   */
  countMissing(before?: number): Promise<number>
  /** Waits, then judges. */
  audit(): Promise<Audit>
  /** Jobs that have not ended, by state. */
  queueCounts(): Promise<Record<string, number>>
  /** Of the events whose jobs have ended last, how many were started more than once. */
  startedTwice(): Promise<number>
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
  /** Gives up when neither the rows nor the queue have changed for so long. */
  patienceMs: number
}

const POLL_MS = 200
const LATEST_JOBS = 500

export function createAuditor({ world, ledger, signal, patienceMs }: AuditorOptions): Auditor {
  const pool = createPool({ url: world.postgres.url, applicationName: 'chaos', max: 2 })
  const db = createDatabase(pool)
  const rows = createRowAuditor({ db, ledger, signal })
  // Opened at its first use: the faults before that would hit this connection as well.
  let opened: { backend: QueueBackend; queue: Queue } | undefined
  const inbound = () => {
    opened ??= openQueue(world)
    return opened.queue
  }

  async function queueCounts(): Promise<Record<string, number>> {
    const { completed: _, ...counts } = await inbound().getJobCounts()
    return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
  }

  return {
    countMissing: (before = Number.POSITIVE_INFINITY) =>
      rows.countMissing((event) => (ledger.entry(event).acknowledgedAt ?? 0) <= before),
    queueCounts,
    startedTwice: async () => {
      const jobs = await inbound().getCompleted(0, LATEST_JOBS)
      return jobs.filter(({ attemptsStarted }) => attemptsStarted > 1).length
    },
    audit: async () => {
      const readActivity = async () => {
        const counts = await queueCounts()
        return Object.keys(counts).length === 0 ? '' : JSON.stringify(counts)
      }
      await rows.waitUntilStored({ patienceMs, pollMs: POLL_MS, readActivity })
      const unfinishedJobs = await queueCounts()
      return { ...judge(ledger, await readStoredRows(pool)), unfinishedJobs }
    },
    close: async () => {
      await Promise.allSettled([opened?.backend.close(), db.destroy()])
    },
  }
}

function openQueue(world: World): { backend: QueueBackend; queue: Queue } {
  const backend = openQueueBackend(world)
  return { backend, queue: backend.createQueue('inbound') }
}
