/**
 * Puts events on the queue `inbound`: many requests, one round trip.
 *
 * What arrives while a round trip is under way goes into the next one. Each round trip has a deadline. When one is missed
 * the queue stands still, and what waits behind it is given up at once: it would otherwise wait for one deadline after the
 * other. A round trip given up may still reach the queue; the job then runs, and the database drops what the direct path
 * has stored meanwhile.
 */
import { createBatcher } from '../core/batcher.ts'
import { DeadlineError, withDeadline } from '../core/deadline.ts'
import type { InboundJob } from '../core/event.ts'
import type { AddInbound } from './backend.ts'

export type InboundProducer = {
  /** Resolves when every event is durable in the queue, or was there already. */
  add(jobs: readonly InboundJob[]): Promise<void>
  /** Events that wait for the queue. */
  pending(): number
  /** Duplicates that the queue dropped since the last call. Approximate. */
  takeDropped(): number
}

export type InboundProducerOptions = {
  addInbound: AddInbound
  timeoutMs?: number
}

export const PRODUCER_TIMEOUT_MS = 1_000
const MAX_JOBS_PER_ROUND_TRIP = 256
const MAX_BYTES_PER_ROUND_TRIP = 1024 * 1024
/** Two, so that one is written while the other waits for the disk. More only make the round trips smaller. */
const MAX_ROUND_TRIPS_IN_FLIGHT = 2

export function createInboundProducer({
  addInbound,
  timeoutMs = PRODUCER_TIMEOUT_MS,
}: InboundProducerOptions): InboundProducer {
  let droppedSince = 0

  const batcher = createBatcher<InboundJob, void>({
    run: async (jobs) => {
      const { dropped } = await withDeadline(addInbound(jobs), timeoutMs, 'adding to the queue').catch(
        giveUpWaiting,
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

  function giveUpWaiting(err: unknown): never {
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
