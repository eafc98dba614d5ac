/**
 * BullMQ on PostgreSQL: one store for everything, where there is no Redis. Slower than Redis (measured here: a seventh of
 * its rate), with the same promises.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { type Job, Queue, runMigrations, Worker } from 'bullmq'
import { Client, Pool } from 'pg'
import type { InboundJob } from '../core/event.ts'
import {
  type InboundConsumer,
  type InboundConsumerOptions,
  type QueueBackend,
  workerSettings,
} from './backend.ts'
import { trackInstances } from './instances.ts'
import { QUEUE_SCHEMA, type QueueName } from './names.ts'
import { CONNECT_TIMEOUT_MS, PromptClient } from './prompt-client.ts'
import { pruneCompleted } from './prune-completed.ts'
import { startSlowly } from './slow-start.ts'
import { watchBackend } from './watched-backend.ts'

export type PostgresBackendOptions = {
  /** A direct connection, not through a pooler: workers LISTEN. */
  databaseUrl: string
  /** Connection errors, which the connection survives. */
  onError: (err: Error) => void
  /** The server has not answered on a connection: others to it may be dead as well. */
  onSilence?: () => void
}

const PRODUCER_QUERY_TIMEOUT_MS = 1_200
/** A connection whose other side is gone without a word is given up after this, and the query is tried on another one. */
const QUERY_TIMEOUT_MS = 3_000
const PRODUCER_CONNECTIONS = 4
const WORKER_CONNECTIONS = 10
/** Each running job takes a connection to end: more jobs than this only wait for one, and their locks with them. */
const MAX_CONCURRENCY = 50
/** A busy worker waits for a free connection rather than lose the job that it has just done. */
const WORKER_CONNECT_TIMEOUT_MS = 30_000
const DEFAULT_CONNECTIONS = 2
/** A job whose answer was lost has the lock of a worker that does not know it, and is found at the second look after that. */
const STALLED_INTERVAL_MS = 1_000
/** On a connection that has died it would take until the query is given up, and every job of the moment waits for it. */
const LONGEST_RATE_LIMIT_MS = 500

export function openPostgresBackend(options: PostgresBackendOptions): QueueBackend {
  const { databaseUrl, onError, onSilence = () => {} } = options
  const createWatchedBackend = watchBackend(onSilence)
  const { track, ready, closeAll } = trackInstances(onError)
  const control = new Pool({
    connectionString: databaseUrl,
    max: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: PRODUCER_QUERY_TIMEOUT_MS,
    application_name: 'wa-ingest queue',
  })
  control.on('error', onError)

  const connection = (max: number, extra: object = {}) => ({
    connectionString: databaseUrl,
    schema: QUEUE_SCHEMA,
    max,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    Client: PromptClient,
    keepAlive: true,
    application_name: 'wa-ingest queue',
    ...extra,
  })
  const failFast = connection(PRODUCER_CONNECTIONS, { query_timeout: PRODUCER_QUERY_TIMEOUT_MS })
  const patient = connection(DEFAULT_CONNECTIONS, { query_timeout: QUERY_TIMEOUT_MS })
  const working = connection(WORKER_CONNECTIONS, {
    connectionTimeoutMillis: WORKER_CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    // What a worker takes and ends need not survive a crash of the server: the job is then run again, and the database
    // of messages knows it. What a producer adds must, and its connections wait for the disk.
    options: '-c synchronous_commit=off',
  })

  const createProducerQueue = (name: QueueName) =>
    anyBackend<Queue>(track(new Queue(name, { connection: failFast }, createWatchedBackend)))
  const createQueue = (name: QueueName) =>
    anyBackend<Queue>(track(new Queue(name, { connection: patient }, createWatchedBackend)))
  let stopPruning: (() => void) | undefined
  const createWorker: QueueBackend['createWorker'] = (name, processor, options) => {
    stopPruning ??= pruneCompleted({ pool: control, onError })
    const worker = startSlowly(
      processor,
      Math.min(options.concurrency, MAX_CONCURRENCY),
      (run, concurrency) => {
        // No `removeOnComplete`: see prune-completed.ts.
        const settings = {
          ...workerSettings({ concurrency }),
          stalledInterval: STALLED_INTERVAL_MS,
        }
        return anyBackend<Worker>(
          new Worker(name, run, { ...settings, connection: working }, createWatchedBackend),
        )
      },
    )
    return track(worker)
  }

  /** This backend announces no duplicates among jobs added in bulk; those added before are counted. */
  async function countDropped(name: string, ids: readonly string[], addedAt: number): Promise<number> {
    const distinct = [...new Set(ids)]
    const { rows } = await control.query<{ known: string }>(
      `SELECT count(*) AS known FROM ${QUEUE_SCHEMA}.job WHERE queue = $1 AND id = ANY ($2) AND added_at_ms < $3`,
      [name, distinct, addedAt],
    )
    return ids.length - distinct.length + Number(rows[0]?.known ?? 0)
  }

  return {
    kind: 'postgres',
    createProducerQueue,
    createQueue,
    createWorker,
    createInboundAdd: () => {
      const queue = createProducerQueue('inbound')
      return async (jobs) => {
        const addedAt = Date.now()
        await queue.addBulk(jobs.toSorted(byId).map((job) => bulkEntry(job, addedAt)))
        const ids = jobs.map(({ job_id }) => job_id)
        const dropped = countDropped(queue.name, ids, addedAt)
        // Whoever has given up waiting for the jobs does not take it, and without a handler its failure ends the process.
        dropped.catch(() => {})
        return { dropped }
      }
    },
    createInboundConsumer: (options) => consumeJobs(options, createQueue('inbound'), createWorker),
    ping: async () => {
      await control.query('SELECT 1')
    },
    ready,
    memoryUsed: async () => undefined,
    // The database's own settings are checked with the database.
    checkSafety: async () => [],
    close: async () => {
      stopPruning?.()
      await closeAll()
      await control.end()
    },
  }
}

/** Two receivers that add the same jobs wait for each other's rows; in different orders, for each other in a circle (40P01). */
function byId({ job_id: a }: InboundJob, { job_id: b }: InboundJob): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function bulkEntry({ job_id, event }: InboundJob, timestamp: number) {
  return { name: event.kind, data: event, opts: { jobId: job_id, timestamp } }
}

/** One job at a time as far as BullMQ knows; those that run at the same time are written as one batch all the same. */
function consumeJobs(
  { concurrency, process, onFailed }: InboundConsumerOptions,
  queue: Queue,
  createWorker: QueueBackend['createWorker'],
): InboundConsumer {
  let pausedUntil = 0

  async function pause(pauseMs: number): Promise<never> {
    // Every job of the moment comes here; the first one pauses the queue for all.
    if (performance.now() >= pausedUntil) {
      pausedUntil = performance.now() + pauseMs
      // It is in the same PostgreSQL, and so may be away as well. The job goes back all the same: failed, it would be left to
      // the sweep, which takes longer.
      await Promise.race([queue.rateLimit(pauseMs).catch(() => {}), delay(LONGEST_RATE_LIMIT_MS)])
    }
    throw Worker.RateLimitError()
  }

  async function run(job: Job): Promise<string> {
    const result = await process({ id: String(job.id), data: job.data })
    if (result.outcome === 'retry') return pause(result.pauseMs)
    if (result.removeWhenDone === true) job.opts.removeOnComplete = true
    return result.outcome
  }

  const worker = createWorker('inbound', run, { concurrency })
  worker.on('failed', (job, err) => onFailed(err, job?.id))
  return {
    run: () => {
      worker.run().catch((err) => onFailed(err, undefined))
    },
    close: () => worker.close(),
  }
}

/** BullMQ's types carry the backend along; what is used of a Queue, Worker or QueueEvents is the same on both. */
function anyBackend<T>(instance: unknown): T {
  return instance as T
}

/** Brings the schema of BullMQ's backend up to date. Two at once wait for each other. */
export async function migrateQueueSchema(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
  await client.connect()
  try {
    await runMigrations(client, QUEUE_SCHEMA)
  } finally {
    await client.end()
  }
}
