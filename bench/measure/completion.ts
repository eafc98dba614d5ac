/**
 * When is everything done that a contender has acknowledged, and was it done once?
 *
 * Asking costs PostgreSQL time that the contender needs, so it is asked little: for the last few events in the order of
 * sending, then for the last few thousand, and for all of them after the clock has stopped.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Kysely } from 'kysely'
import { countRows } from '../../src/cli/simulate/stored-rows.ts'
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
const PROBES = [32, 2_000]
const KEYS_PER_QUERY = 5_000
/** Longer than any pause that a contender makes by itself. */
const STANDSTILL_MS = 30_000

export function completionInRows(db: Kysely<Database>, signal: AbortSignal): Completion {
  async function count(keys: readonly EventKey[]): Promise<{ stored: number; doubled: number }> {
    const found = { stored: 0, doubled: 0 }
    for (let first = 0; first < keys.length; first += KEYS_PER_QUERY) {
      const counts = await countRows(db, keys.slice(first, first + KEYS_PER_QUERY))
      found.stored += counts.filter((rows) => rows > 0).length
      found.doubled += counts.filter((rows) => rows > 1).length
    }
    return found
  }

  const isStored = async (keys: readonly EventKey[]) => (await count(keys)).stored === keys.length
  const progress = (acknowledged: Acknowledged) => async () => (await count(acknowledged.keys())).stored
  return {
    waitForLast: async (acknowledged) => {
      for (const size of PROBES) {
        const probe = acknowledged.keys(size)
        await untilStandstill(() => isStored(probe), progress(acknowledged), { pollMs: POLL_MS, signal })
      }
    },
    waitForAll: (acknowledged) => {
      const all = acknowledged.keys()
      return untilStandstill(() => isStored(all), progress(acknowledged), { pollMs: POLL_ALL_MS, signal })
    },
    verify: (acknowledged) => count(acknowledged.keys()),
  }
}

/** For jobs of the queue `inbound` on Redis that leave nothing in a database; `done` says at the end how many there were. */
export function completionInJobs(redis: Redis, signal: AbortSignal, done: () => Promise<number>): Completion {
  const waiting = async () => {
    const lengths = ['wait', 'active'].map((list) => redis.llen(`${QUEUE_PREFIX}:inbound:${list}`))
    return (await Promise.all(lengths)).reduce((sum, length) => sum + length, 0)
  }
  const wait = () =>
    untilStandstill(async () => (await waiting()) === 0, waiting, { pollMs: POLL_MS, signal })
  return {
    waitForLast: wait,
    waitForAll: wait,
    verify: async ({ count }) => {
      const stored = await done()
      return { stored: Math.min(stored, count), doubled: Math.max(0, stored - count) }
    },
  }
}

/** For who is done with the answer. */
export const COMPLETE_WITH_ANSWER: Completion = {
  waitForLast: async () => {},
  waitForAll: async () => {},
  verify: async ({ count }) => ({ stored: count, doubled: 0 }),
}

/** Looks until it is done, or until `progress` has not changed for long. */
async function untilStandstill(
  isDone: () => Promise<boolean>,
  progress: () => Promise<number>,
  { pollMs, signal }: { pollMs: number; signal: AbortSignal },
): Promise<void> {
  let lastProgress: number | undefined
  let lookAtProgressAt = performance.now() + STANDSTILL_MS
  while (!(await isDone())) {
    await sleep(pollMs, undefined, { signal })
    if (performance.now() < lookAtProgressAt) continue
    const current = await progress()
    if (current === lastProgress) return
    lastProgress = current
    lookAtProgressAt = performance.now() + STANDSTILL_MS
  }
}
