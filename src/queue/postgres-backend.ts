/**
 * BullMQ on PostgreSQL: one store for everything, where there is no Redis. Slower than Redis (measured here: a seventh of
 * its rate), with the same promises.
 */
import { createPostgresBackend, Queue, QueueEvents, runMigrations, Worker } from 'bullmq'
import { Client, Pool } from 'pg'
import { type QueueBackend, workerSettings } from './backend.ts'
import { trackInstances } from './instances.ts'
import { QUEUE_SCHEMA, type QueueName } from './names.ts'

export type PostgresBackendOptions = {
  /** A direct connection, not through a pooler: workers LISTEN. */
  databaseUrl: string
  /** Connection errors, which the connection survives. */
  onError: (err: Error) => void
}

const CONNECT_TIMEOUT_MS = 2_000
const PRODUCER_QUERY_TIMEOUT_MS = 1_200
/** A connection whose other side is gone without a word is given up after this, and the query is tried on another one. */
const QUERY_TIMEOUT_MS = 4_000
const PRODUCER_CONNECTIONS = 4
const WORKER_CONNECTIONS = 10
/** Each running job takes a connection to end: more jobs than this only wait for one, and their locks with them. */
const MAX_CONCURRENCY = 50
/**
 * Completed jobs are what the first net still recognises. By age alone: to keep a number of them, the backend reads all of
 * them for every job that ends (measured: 27 ms a job at 4,000 kept).
 */
const KEEP_COMPLETED = { age: 600 }
/** A busy worker waits for a connection rather than lose the job that it has just done. */
const WORKER_CONNECT_TIMEOUT_MS = 30_000
const DEFAULT_CONNECTIONS = 2

export function openPostgresBackend({ databaseUrl, onError }: PostgresBackendOptions): QueueBackend {
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

  return {
    kind: 'postgres',
    createProducerQueue: (name: QueueName) =>
      anyBackend<Queue>(track(new Queue(name, { connection: failFast }, createPostgresBackend))),
    createQueue: (name: QueueName) =>
      anyBackend<Queue>(track(new Queue(name, { connection: patient }, createPostgresBackend))),
    createWorker: (name, processor, { concurrency }) => {
      const settings = workerSettings({ concurrency: Math.min(concurrency, MAX_CONCURRENCY) })
      const options = { ...settings, removeOnComplete: KEEP_COMPLETED, connection: working }
      const worker = new Worker(name, processor, options, createPostgresBackend)
      return anyBackend<Worker>(track(worker))
    },
    createQueueEvents: (name) =>
      anyBackend<QueueEvents>(track(new QueueEvents(name, { connection: patient }, createPostgresBackend))),
    ping: async () => {
      await control.query('SELECT 1')
    },
    ready,
    memoryUsed: async () => undefined,
    countDropped: async (name, ids, addedAt) => {
      const distinct = [...new Set(ids)]
      const { rows } = await control.query<{ known: string }>(
        `SELECT count(*) AS known FROM ${QUEUE_SCHEMA}.job WHERE queue = $1 AND id = ANY ($2) AND added_at_ms < $3`,
        [name, distinct, addedAt],
      )
      return ids.length - distinct.length + Number(rows[0]?.known ?? 0)
    },
    // The database's own settings are checked with the database.
    checkSafety: async () => [],
    close: async () => {
      await closeAll()
      await control.end()
    },
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
