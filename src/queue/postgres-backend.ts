/**
 * BullMQ on PostgreSQL: one store for everything, where there is no Redis. Slower than Redis (measured here: a seventh of
 * its rate), with the same promises.
 */
import { createPostgresBackend, Queue, QueueEvents, runMigrations, Worker } from 'bullmq'
import { Client, Pool } from 'pg'
import { LOCK_DURATION_MS, MAX_STALLED_COUNT, type QueueBackend, STALLED_INTERVAL_MS } from './backend.ts'
import { QUEUE_SCHEMA, type QueueName } from './names.ts'

export type PostgresBackendOptions = {
  /** A direct connection, not through a pooler: workers LISTEN. */
  databaseUrl: string
  /** Connection errors, which the connection survives. */
  onError: (err: Error) => void
}

const CONNECT_TIMEOUT_MS = 2_000
const PRODUCER_QUERY_TIMEOUT_MS = 1_200
const PRODUCER_CONNECTIONS = 4
const WORKER_CONNECTIONS = 8
const DEFAULT_CONNECTIONS = 2

export function openPostgresBackend({ databaseUrl, onError }: PostgresBackendOptions): QueueBackend {
  const closers: (() => Promise<unknown>)[] = []
  const control = new Pool({
    connectionString: databaseUrl,
    max: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: PRODUCER_QUERY_TIMEOUT_MS,
    application_name: 'wa-ingest queue',
  })
  control.on('error', onError)
  closers.push(() => control.end())

  function opened<
    T extends { close(): Promise<unknown>; on(event: 'error', listener: (err: Error) => void): unknown },
  >(instance: T): T {
    instance.on('error', onError)
    closers.push(() => instance.close())
    return instance
  }

  /**
   * BullMQ's types carry the backend along; what is used of a Queue, Worker or QueueEvents here is the same on both.
   */
  function anyBackend<T>(instance: unknown): T {
    return instance as T
  }

  const connection = (max: number, extra: object = {}) => ({
    connectionString: databaseUrl,
    schema: QUEUE_SCHEMA,
    max,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'wa-ingest queue',
    ...extra,
  })

  return {
    kind: 'postgres',
    createProducerQueue: (name: QueueName) =>
      anyBackend<Queue>(
        opened(
          new Queue(
            name,
            { connection: connection(PRODUCER_CONNECTIONS, { query_timeout: PRODUCER_QUERY_TIMEOUT_MS }) },
            createPostgresBackend,
          ),
        ),
      ),
    createQueue: (name: QueueName) =>
      anyBackend<Queue>(
        opened(new Queue(name, { connection: connection(DEFAULT_CONNECTIONS) }, createPostgresBackend)),
      ),
    createWorker: (name, processor, { concurrency, keepCompleted }) =>
      anyBackend<Worker>(
        opened(
          new Worker(
            name,
            processor,
            {
              connection: connection(WORKER_CONNECTIONS),
              autorun: false,
              concurrency,
              lockDuration: LOCK_DURATION_MS,
              stalledInterval: STALLED_INTERVAL_MS,
              maxStalledCount: MAX_STALLED_COUNT,
              removeOnComplete: { age: keepCompleted.ageSeconds, count: keepCompleted.count },
            },
            createPostgresBackend,
          ),
        ),
      ),
    createQueueEvents: (name) =>
      anyBackend<QueueEvents>(
        opened(new QueueEvents(name, { connection: connection(DEFAULT_CONNECTIONS) }, createPostgresBackend)),
      ),
    ping: async () => {
      await control.query('SELECT 1')
    },
    memoryUsed: async () => undefined,
    close: async () => {
      await Promise.allSettled(closers.map((close) => close()))
    },
  }
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
