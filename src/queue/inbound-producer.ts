/**
 * Puts events on the queue `inbound`: many requests, one round trip.
 *
 * What arrives while a round trip is under way goes into the next one. Each round trip has its own deadline, so a slow
 * one holds up only the requests in it. A round trip given up may still reach the queue; the job then runs, and the
 * database drops what the direct path has stored meanwhile.
 */
import type { Queue } from 'bullmq'
import { createBatcher } from '../core/batcher.ts'
import { withDeadline } from '../core/deadline.ts'
import type { InboundJob } from '../core/event.ts'
import type { QueueBackend } from './backend.ts'

export type InboundProducer = {
  /** Resolves when every event is durable in the queue, or was there already. */
  add(jobs: readonly InboundJob[]): Promise<void>
  /** Events that wait for the queue. */
  pending(): number
  /** Duplicates that the queue dropped since the last call, where the backend can count them. Approximate. */
  takeDropped(): number
}

export type InboundProducerOptions = {
  queue: Queue
  timeoutMs?: number
  countDropped?: QueueBackend['countDropped'] | undefined
}

export const PRODUCER_TIMEOUT_MS = 1_000
const MAX_JOBS_PER_ROUND_TRIP = 256
const MAX_BYTES_PER_ROUND_TRIP = 1024 * 1024
/** Two, so that one is written while the other waits for the disk. More only make the round trips smaller. */
const MAX_ROUND_TRIPS_IN_FLIGHT = 2

export function createInboundProducer({
  queue,
  timeoutMs = PRODUCER_TIMEOUT_MS,
  countDropped,
}: InboundProducerOptions): InboundProducer {
  let dropped = 0

  /** After the acknowledgement, and without holding anything up. */
  function noteDropped(jobs: readonly InboundJob[], addedAt: number): void {
    const ids = jobs.map(({ job_id }) => job_id)
    countDropped?.(queue.name, ids, addedAt).then(
      (count) => {
        dropped += count
      },
      () => {},
    )
  }

  const batcher = createBatcher<InboundJob, void>({
    run: async (jobs) => {
      const addedAt = Date.now()
      const entries = jobs.map((job) => bulkEntry(job, countDropped && addedAt))
      await withDeadline(queue.addBulk(entries), timeoutMs, 'adding to the queue')
      noteDropped(jobs, addedAt)
      return jobs.map(() => undefined)
    },
    maxItems: MAX_JOBS_PER_ROUND_TRIP,
    maxInFlight: MAX_ROUND_TRIPS_IN_FLIGHT,
    maxBytes: MAX_BYTES_PER_ROUND_TRIP,
    sizeOf: ({ event }) => event.payload.length + (event.context?.length ?? 0),
  })
  return {
    add: async (jobs) => {
      await Promise.all(jobs.map((job) => batcher.add(job)))
    },
    pending: () => batcher.pending(),
    takeDropped: () => {
      const count = dropped
      dropped = 0
      return count
    },
  }
}

function bulkEntry({ job_id, event }: InboundJob, timestamp: number | undefined) {
  const opts = timestamp === undefined ? { jobId: job_id } : { jobId: job_id, timestamp }
  return { name: event.kind, data: event, opts }
}
