/**
 * BullMQ on PostgreSQL: one store for everything, for installations without Redis. It keeps the same promises as Redis at a
 * seventh of its rate (measured here).
 */
import { setTimeout as delay } from 'node:timers/promises'
import { DelayedError, type Job, Queue, runMigrations, Worker } from 'bullmq'
import { Client, Pool } from 'pg'
import {
  type InboundConsumer,
  type InboundConsumerOptions,
  type QueueBackend,
  workerSettings,
} from './backend.ts'
import { CONNECT_TIMEOUT_MS, ConnectTimeoutClient } from './connect-timeout-client.ts'
import { trackInstances } from './instances.ts'
import { QUEUE_SCHEMA, type QueueName } from './names.ts'
import { createRepairedBackends } from './postgres-connection-repairs.ts'
import { createPostgresAdd } from './postgres-inbound-add.ts'
import { pruneCompleted } from './prune-completed.ts'

export type PostgresBackendOptions = {
  /** Must not lead through a pooler: workers LISTEN. */
  databaseUrl: string
  /** Called with errors of connections, after which the backend connects again. */
  onError: (err: Error) => void
  /** Called when the server does not answer on a connection: others to it may be dead as well. */
  onSilence?: () => void
}

const PRODUCER_QUERY_TIMEOUT_MS = 1_200
/** After so long without an answer a connection counts as dead, and the query is tried on another one. */
const QUERY_TIMEOUT_MS = 3_000
const PRODUCER_CONNECTIONS = 4
const WORKER_CONNECTIONS = 10
/** Each job needs a connection to be completed. More jobs than this would wait for one while their locks run out. */
const MAX_CONCURRENCY = 50
/** A busy worker waits for a free connection, because otherwise it could not complete the job that it has just done. */
const WORKER_CONNECT_TIMEOUT_MS = 30_000
const DEFAULT_CONNECTIONS = 2
/**
 * When the answer to a fetch is lost, its job is locked for a worker that does not know of it. Workers find it at the second
 * check after its lock has expired, so they check more often than on Redis.
 */
const STALLED_INTERVAL_MS = 1_000
/** On a dead connection the query would take until its time-out, and all running jobs would wait for it. */
const MAX_RATE_LIMIT_WAIT_MS = 500
/** How long a job that is to be retried without a delay keeps its place among the running ones. */
const REQUEUE_DELAY_MS = 250

export function openPostgresBackend(options: PostgresBackendOptions): QueueBackend {
  const { databaseUrl, onError, onSilence = () => {} } = options
  const createBackend = createRepairedBackends(onSilence)
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
    Client: ConnectTimeoutClient,
    keepAlive: true,
    application_name: 'wa-ingest queue',
    ...extra,
  })
  const failFast = connection(PRODUCER_CONNECTIONS, { query_timeout: PRODUCER_QUERY_TIMEOUT_MS })
  const patient = connection(DEFAULT_CONNECTIONS, { query_timeout: QUERY_TIMEOUT_MS })
  const working = connection(WORKER_CONNECTIONS, {
    connectionTimeoutMillis: WORKER_CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    // What a worker reserves and completes need not survive a crash of the server: the job then runs again, and the unique
    // index drops the duplicate. What a producer adds must survive, so its connections wait for the disk.
    options: '-c synchronous_commit=off',
  })

  const createProducerQueue = (name: QueueName) =>
    anyBackend<Queue>(track(new Queue(name, { connection: failFast }, createBackend)))
  const createQueue = (name: QueueName) =>
    anyBackend<Queue>(track(new Queue(name, { connection: patient }, createBackend)))
  const closing = new AbortController()
  let isPruning = false
  const createWorker: QueueBackend['createWorker'] = (name, processor, options) => {
    if (!isPruning) void pruneCompleted({ pool: control, signal: closing.signal, onError })
    isPruning = true
    const concurrency = Math.min(options.concurrency, MAX_CONCURRENCY)
    // No `removeOnComplete`: see prune-completed.ts.
    const settings = { ...workerSettings({ concurrency }), stalledInterval: STALLED_INTERVAL_MS }
    const worker = new Worker(name, processor, { ...settings, connection: working }, createBackend)
    return anyBackend<Worker>(track(worker))
  }

  return {
    kind: 'postgres',
    createProducerQueue,
    createQueue,
    createWorker,
    createInboundAdd: () => createPostgresAdd(createProducerQueue('inbound'), control),
    createInboundConsumer: (options) =>
      consumeJobs(options, { queue: createQueue('inbound'), createWorker, pool: control }),
    ping: async () => {
      await control.query('SELECT 1')
    },
    ready,
    memoryUsed: async () => undefined,
    // checkPostgresSafety checks the database.
    checkSafety: async () => [],
    close: async () => {
      closing.abort()
      await closeAll()
      await control.end()
    },
  }
}

type ConsumerDeps = { queue: Queue; pool: Pick<Pool, 'query'> } & Pick<QueueBackend, 'createWorker'>

/** BullMQ's worker processes each job by itself; the event store writes the jobs that run at the same time as one batch. */
function consumeJobs(
  { concurrency, process, onFailed }: InboundConsumerOptions,
  { queue, createWorker, pool }: ConsumerDeps,
): InboundConsumer {
  let pausedUntil = 0

  async function requeue(job: Job, token: string, pauseMs: number, delayMs: number): Promise<never> {
    const isDelayed = delayMs > 0 && (await delayJob(pool, job, token, delayMs))
    // Without a delay or a pause of the queue, this job would come back in the same moment.
    if (pauseMs === 0 && !isDelayed) await delay(REQUEUE_DELAY_MS)
    // Every running job gets here; the first one pauses the queue for all.
    if (pauseMs > 0 && performance.now() >= pausedUntil) {
      pausedUntil = performance.now() + pauseMs
      // The queue may be in the PostgreSQL that is away. The job is requeued even if this call fails: a failed job would wait
      // for the sweep, which takes longer.
      await Promise.race([queue.rateLimit(pauseMs).catch(() => {}), delay(MAX_RATE_LIMIT_WAIT_MS)])
    }
    throw isDelayed ? new DelayedError() : Worker.RateLimitError()
  }

  async function run(job: Job, token = ''): Promise<string> {
    const result = await process({ id: String(job.id), data: job.data })
    if (result.outcome === 'retry') return requeue(job, token, result.pauseMs, result.delayMs ?? 0)
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

/** False when the queue is away. */
async function delayJob(
  pool: Pick<Pool, 'query'>,
  job: Job,
  token: string,
  delayMs: number,
): Promise<boolean> {
  try {
    await job.moveToDelayed(Date.now() + Math.ceil(delayMs), token)
  } catch {
    return false
  }
  // BullMQ leaves the job its place, the first one; then those delayed again and again would keep the others from being run.
  await pool
    .query(
      `UPDATE ${QUEUE_SCHEMA}.job SET seq = nextval('${QUEUE_SCHEMA}.job_seq')
       WHERE queue = $1 AND id = $2 AND state = 'delayed'`,
      [job.queueName, job.id],
    )
    .catch(() => {})
  return true
}

/** BullMQ's types name the backend, but a Queue or Worker is used in the same way on both. */
function anyBackend<T>(instance: unknown): T {
  return instance as T
}

/** Brings the schema of BullMQ's backend up to date. Two calls at once wait for each other. */
export async function migrateQueueSchema(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
  await client.connect()
  try {
    await runMigrations(client, QUEUE_SCHEMA)
  } finally {
    await client.end()
  }
}
