/**
 * Adds events to the queue `inbound`: many requests share one round trip.
 *
 * Events that arrive during a round trip go into the next one. Each round trip has a deadline. When one misses it, the queue
 * does not answer, and the events that wait behind it are rejected at once: otherwise they would wait for one deadline after
 * another. A round trip that missed its deadline may still reach the queue; its jobs then run, and the database drops those
 * whose event the direct path has stored meanwhile.
 */
import { createBatcher } from '../core/batcher.ts'
import { DeadlineError, withDeadline } from '../core/deadline.ts'
import type { InboundJob } from '../core/event.ts'
import type { AddInbound } from './backend.ts'

export type InboundProducer = {
  /** Resolves when every event is durable in the queue; a duplicate counts as such. */
  add(jobs: readonly InboundJob[]): Promise<void>
  /** The number of events that wait for the queue. */
  pending(): number
  /** About the number of duplicates that the queue dropped since the last call. */
  takeDropped(): number
}

export type InboundProducerOptions = {
  addInbound: AddInbound
  timeoutMs?: number
}

export const PRODUCER_TIMEOUT_MS = 1_000
const MAX_JOBS_PER_ROUND_TRIP = 256
const MAX_BYTES_PER_ROUND_TRIP = 1024 * 1024
/** Two: one is written while the other waits for the disk. More would only make each round trip smaller. */
const MAX_ROUND_TRIPS_IN_FLIGHT = 2

export function createInboundProducer({
  addInbound,
  timeoutMs = PRODUCER_TIMEOUT_MS,
}: InboundProducerOptions): InboundProducer {
  let droppedSince = 0

  const batcher = createBatcher<InboundJob, void>({
    run: async (jobs) => {
      const { dropped } = await withDeadline(addInbound(jobs), timeoutMs, 'adding to the queue').catch(
        rejectWaiting,
      )
      dropped.then(
        (count) => {
          droppedSince += count
        },
        () => {},
      )
      return []
    },
    maxItems: MAX_JOBS_PER_ROUND_TRIP,
    maxInFlight: MAX_ROUND_TRIPS_IN_FLIGHT,
    maxBytes: MAX_BYTES_PER_ROUND_TRIP,
    sizeOf: ({ event }) => event.payload.length + (event.context?.length ?? 0),
  })

  function rejectWaiting(err: unknown): never {
    if (err instanceof DeadlineError) batcher.rejectWaiting(err)
    throw err
  }

  return {
    add: async (jobs) => {
      await Promise.all(jobs.map((job) => batcher.add(job)))
    },
    pending: () => batcher.pending(),
    takeDropped: () => {
      const count = droppedSince
      droppedSince = 0
      return count
    },
  }
}
