/**
 * Counts what the queue dropped, which nobody else can tell: neither `add` nor `addBulk` says that a job was a duplicate,
 * only an event does. Every worker hears every event, so only the one that holds the lease counts. Approximate: events
 * are missed while no worker runs or the lease changes hands.
 */
import { randomUUID } from 'node:crypto'
import type { QueueEvents } from 'bullmq'
import type { Kysely } from 'kysely'
import { addCounts } from '../db/counters.ts'
import { holdLease } from '../db/leases.ts'
import type { Database } from '../db/schema.ts'

const LEASE_MS = 15_000

export type QueueDuplicateCounter = {
  /** Adds what was heard since the last time to the totals. */
  runOnce(): Promise<void>
}

export function createQueueDuplicateCounter(deps: {
  events: QueueEvents
  db: Kysely<Database>
}): QueueDuplicateCounter {
  const holder = randomUUID()
  let heard = 0
  deps.events.on('duplicated', () => {
    heard++
  })
  return {
    runOnce: async () => {
      const count = heard
      const isHolder = await holdLease(deps.db, { name: 'queue-duplicates', holder, durationMs: LEASE_MS })
      if (isHolder) await addCounts(deps.db, { duplicates_queue: count })
      heard -= count
    },
  }
}
