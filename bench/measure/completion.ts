/**
 * Finds the moment at which everything that a contender acknowledged is done, and whether each event was done once.
 *
 * Queries cost PostgreSQL time that the contender needs, so there are few: they look for the last few events in the order
 * of sending, then for the last few thousand, and for all of them after the clock has stopped.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Kysely } from 'kysely'
import { createAuditor, ledgerOfKeys, totalOf } from '../../src/cli/simulate/auditor.ts'
import type { EventKey } from '../../src/cli/simulate/traffic.ts'
import type { Database } from '../../src/db/schema.ts'
import { QUEUE_PREFIX } from '../../src/queue/names.ts'
import type { Acknowledged } from '../load/prepared-load.ts'

export type Completion = {
  /** Resolves when the last ones in the order of sending are done, or nothing more happens. */
  waitForLast(acknowledged: Acknowledged): Promise<void>
  /** Resolves when all of them are done, or nothing more happens. */
  waitForAll(acknowledged: Acknowledged): Promise<void>
  /** How many of these are there, and how many of them more than once. */
  verify(acknowledged: Acknowledged): Promise<{ stored: number; doubled: number }>
}

const POLL_MS = 20
const POLL_ALL_MS = 500
const LAST_EVENTS = [32, 2_000]
/** Longer than any pause that a contender makes by itself. */
const STANDSTILL_MS = 30_000

export function completionInRows(db: Kysely<Database>, signal: AbortSignal): Completion {
  const auditorOf = (keys: readonly EventKey[]) => createAuditor({ db, ledger: ledgerOfKeys(keys), signal })
  const wait = (keys: readonly EventKey[], pollMs: number) =>
    auditorOf(keys).waitUntilStored({ patienceMs: STANDSTILL_MS, pollMs })
  return {
    waitForLast: async (acknowledged) => {
      for (const size of LAST_EVENTS) await wait(acknowledged.keys(size), POLL_MS)
    },
    waitForAll: (acknowledged) => wait(acknowledged.keys(), POLL_ALL_MS),
    verify: async (acknowledged) => {
      const { stored, doubled } = totalOf(await auditorOf(acknowledged.keys()).audit())
      return { stored, doubled }
    },
  }
}

/** For jobs of the queue `inbound` on Redis that store nothing in a database. `done` returns at the end how many ended. */
export function completionInJobs(redis: Redis, signal: AbortSignal, done: () => Promise<number>): Completion {
  const waiting = async () => {
    const lengths = ['wait', 'active'].map((list) => redis.llen(`${QUEUE_PREFIX}:inbound:${list}`))
    return (await Promise.all(lengths)).reduce((sum, length) => sum + length, 0)
  }
  const wait = async () => {
    let before: number | undefined
    for (let lastChangeAt = performance.now(); ; await sleep(POLL_MS, undefined, { signal })) {
      const count = await waiting()
      if (count !== before) lastChangeAt = performance.now()
      before = count
      if (count === 0 || performance.now() - lastChangeAt >= STANDSTILL_MS) return
    }
  }
  return {
    waitForLast: wait,
    waitForAll: wait,
    verify: async ({ count }) => {
      const stored = await done()
      return { stored: Math.min(stored, count), doubled: Math.max(0, stored - count) }
    },
  }
}

/** For a contender that is done when it has answered. */
export const COMPLETE_WITH_ANSWER: Completion = {
  waitForLast: async () => {},
  waitForAll: async () => {},
  verify: async ({ count }) => ({ stored: count, doubled: 0 }),
}
