/** Adds events to the queue `inbound` on BullMQ's PostgreSQL backend. */
import type { Queue } from 'bullmq'
import type { Pool } from 'pg'
import type { InboundJob } from '../core/event.ts'
import { otherNumberJobId } from '../core/job-id.ts'
import type { AddInbound } from './backend.ts'
import { QUEUE_SCHEMA } from './names.ts'

/**
 * `queue` waits for the disk, `pool` only reads. An event whose id is taken by an event of another business number is no
 * duplicate: it is added under the id that the number makes of it (core/job-id.ts), and the database decides.
 */
export function createPostgresAdd(queue: Queue, pool: Pick<Pool, 'query'>): AddInbound {
  const addBulk = (jobs: readonly InboundJob[], addedAt: number) =>
    queue.addBulk(jobs.toSorted(byId).map((job) => bulkEntry(job, addedAt)))

  return async (jobs) => {
    const addedAt = Date.now()
    const distinct = distinctJobs(jobs)
    await addBulk(distinct, addedAt)
    const { known, taken } = await compareWithStored(pool, queue.name, distinct, addedAt)
    if (taken.length > 0) await addBulk(taken.map(underOtherId), addedAt)
    return { dropped: Promise.resolve(jobs.length - distinct.length + known - taken.length) }
  }
}

/** One job for each id. Another business number's job under the same id gets the id that its number makes of it. */
function distinctJobs(jobs: readonly InboundJob[]): InboundJob[] {
  const distinct = new Map<string, InboundJob>()
  for (const job of jobs) {
    const first = distinct.get(job.job_id)
    const isOther = first !== undefined && first.event.business_number !== job.event.business_number
    const own = isOther ? underOtherId(job) : job
    if (!distinct.has(own.job_id)) distinct.set(own.job_id, own)
  }
  return [...distinct.values()]
}

function underOtherId({ job_id, event }: InboundJob): InboundJob {
  const { business_number } = event
  return business_number === undefined
    ? { job_id, event }
    : { job_id: otherNumberJobId(job_id, business_number), event }
}

/**
 * The LIMIT keeps the planner to one look-up by primary key for each id.
 *
 * `known`: how many jobs were there before; BullMQ announces no duplicates among jobs added in bulk. `taken`: those whose id
 * another business number's job has.
 */
async function compareWithStored(
  pool: Pick<Pool, 'query'>,
  queueName: string,
  jobs: readonly InboundJob[],
  addedAt: number,
): Promise<{ known: number; taken: InboundJob[] }> {
  const { rows } = await pool.query<{ known: string; taken: string[] | null }>(
    `SELECT count(*) FILTER (WHERE j.added_at_ms < $4) AS known,
       array_agg(j.id) FILTER (WHERE j.data->>'business_number' <> n.number) AS taken
     FROM unnest($2::text[], $3::text[]) AS n(id, number)
     CROSS JOIN LATERAL (SELECT * FROM ${QUEUE_SCHEMA}.job WHERE queue = $1 AND id = n.id LIMIT 1) j`,
    [
      queueName,
      jobs.map(({ job_id }) => job_id),
      jobs.map(({ event }) => event.business_number ?? null),
      addedAt,
    ],
  )
  const taken = new Set(rows[0]?.taken)
  return { known: Number(rows[0]?.known ?? 0), taken: jobs.filter(({ job_id }) => taken.has(job_id)) }
}

/** Two receivers that add the same jobs in different orders would wait for each other's rows in a circle (40P01). */
function byId({ job_id: a }: InboundJob, { job_id: b }: InboundJob): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function bulkEntry({ job_id, event }: InboundJob, timestamp: number) {
  return { name: event.kind, data: event, opts: { jobId: job_id, timestamp } }
}
