/**
 * BullMQ on Redis.
 *
 * Two kinds of connections. A producer's fails fast: no offline queue, one try, a time-out on every command, so that the
 * receiver can take its direct path within its deadline. A worker's waits for ever and reconnects by itself.
 * `skipWaitingForReady` together with `skipVersionCheck` is what lets a producer start while Redis is away and recover
 * when it comes (measured; with the first alone the Queue stays dead).
 */

import { setTimeout as delay } from 'node:timers/promises'
import { Queue, Worker } from 'bullmq'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import {
  LOCK_MS,
  MAX_STALLED_COUNT,
  type QueueBackend,
  STALLED_INTERVAL_MS,
  workerSettings,
} from './backend.ts'
import { createAddJobs } from './inbound/add-jobs.ts'
import { createBatchConsumer } from './inbound/batch-consumer.ts'
import { openInboundJobs } from './inbound/inbound-jobs.ts'
import { createWaitForReplicas } from './inbound/wait-for-replicas.ts'
import { trackInstances } from './instances.ts'
import { QUEUE_PREFIX, type QueueName } from './names.ts'
import { pauseAfterFailures } from './pause-after-failures.ts'
import { checkRedisSafety } from './redis-safety.ts'
import { startSlowly } from './slow-start.ts'

export type RedisSettings = {
  url?: string | undefined
  clusterNodes: readonly { host: string; port: number }[]
  sentinels: readonly { host: string; port: number }[]
  sentinelName?: string | undefined
  /** What is added counts as durable when so many replicas have it; absent: none. Not of a cluster. */
  waitReplicas?: number | undefined
}

export type RedisBackendOptions = {
  redis: RedisSettings
  /** Connection errors, which the connection survives. */
  onError: (err: Error) => void
}

const CONNECT_TIMEOUT_MS = 2_000
const HANDSHAKE_MS = 500
/** A little more than the producer's own deadline, so that the deadline is what is seen and the command is freed soon after. */
const COMMAND_TIMEOUT_MS = 1_200
/**
 * A connection that says nothing for so long while a command waits is closed and made anew: a time-out of the command alone
 * leaves a connection whose other side is gone without a word in use, and a worker's commands have none.
 */
const PRODUCER_SILENCE_MS = 1_500
const WORKER_SILENCE_MS = 4_000
/** Longer than BullMQ waits for a job or an event to come: 10 s. */
const WAITING_SILENCE_MS = 15_000
/** Longer than an inbound consumer waits: 3 s. */
const INBOUND_WAITING_SILENCE_MS = 5_000
const MAX_RECONNECT_DELAY_MS = 1_000

/** Completed jobs are what the first net still recognises; Redis pays 1.8 kB of memory for each. */
const KEEP_COMPLETED = { age: 3600, count: 10_000 }

/** Without the one option whose type rules out `undefined` and so does not fit the constructors. */
type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>

const COMMON: ConnectionOptions = {
  connectTimeout: CONNECT_TIMEOUT_MS,
  retryStrategy: (attempt) => Math.min(attempt * 50, MAX_RECONNECT_DELAY_MS),
  // A primary that has become a replica keeps its connections; a new one may reach the primary of now. What it refused is
  // not sent again: whoever asked is told. Redis 6 puts words of its own around it.
  reconnectOnError: ({ message }) => message.includes('READONLY'),
}
const FAIL_FAST: ConnectionOptions = {
  ...COMMON,
  enableOfflineQueue: false,
  // Otherwise ioredis sends again what a broken connection has left unanswered, and a server that has taken over meanwhile
  // confirms (WAIT) what it never had.
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT_MS,
  socketTimeout: PRODUCER_SILENCE_MS,
}
const PATIENT: ConnectionOptions = {
  ...COMMON,
  maxRetriesPerRequest: null,
  socketTimeout: WORKER_SILENCE_MS,
}
/** Waits for Redis, and then tells when an answer was lost: what took jobs must not run twice (inbound-jobs.ts). */
const PATIENT_ONCE: ConnectionOptions = { ...PATIENT, maxRetriesPerRequest: 0 }

export function openRedisBackend({ redis, onError }: RedisBackendOptions): QueueBackend {
  const clients: (Redis | Cluster)[] = []
  const { track, closeAll } = trackInstances(onError)

  function connect(options: ConnectionOptions): Redis | Cluster {
    const client = createRedisClient(redis, options)
    client.on('error', onError)
    clients.push(client)
    return client
  }

  const control = connect(FAIL_FAST)
  const shared = { prefix: QUEUE_PREFIX, skipVersionCheck: true }
  return {
    kind: 'redis',
    createProducerQueue: (name: QueueName) =>
      track(new Queue(name, { ...shared, skipWaitingForReady: true, connection: connect(FAIL_FAST) })),
    createQueue: (name: QueueName) => track(new Queue(name, { ...shared, connection: connect(PATIENT) })),
    createWorker: (name, processor, { concurrency: maxJobs }) => {
      const connection = withWaitingCopies(connect(PATIENT))
      const options = { ...shared, removeOnComplete: KEEP_COMPLETED, connection }
      const worker = startSlowly(
        processor,
        maxJobs,
        (run, concurrency) => new Worker(name, run, { ...options, ...workerSettings({ concurrency }) }),
      )
      pauseAfterFailures(worker.backend)
      return track(worker)
    },
    createInboundAdd: () => {
      const client = connect(FAIL_FAST)
      const addJobs = createAddJobs(client)
      const waitForReplicas = createWaitForReplicas(client, redis.waitReplicas ?? 0)
      return async (jobs) => {
        const dropped = await addJobs(jobs)
        await waitForReplicas()
        return { dropped: Promise.resolve(dropped) }
      }
    },
    createInboundConsumer: (options) =>
      createBatchConsumer({
        ...options,
        jobs: openInboundJobs({
          client: connect(PATIENT_ONCE),
          waitingClient: connect({ ...PATIENT, socketTimeout: INBOUND_WAITING_SILENCE_MS }),
          lockMs: LOCK_MS,
          recovery: { intervalMs: STALLED_INTERVAL_MS, maxLosses: MAX_STALLED_COUNT },
          keepCompleted: KEEP_COMPLETED,
        }),
        holdIntervalMs: LOCK_MS / 2,
        recoverIntervalMs: STALLED_INTERVAL_MS,
        onError,
      }),
    ping: async () => {
      await control.ping()
    },
    ready: async () => {
      await Promise.all(clients.map(whenReady))
    },
    memoryUsed: async () => memoryUsed(await control.info('memory')),
    checkSafety: () => checkRedisSafety(control),
    close: async () => {
      await closeAll()
      await Promise.all(clients.map(disconnect))
    },
  }
}

/** ioredis takes a reply that comes while it closes in the middle of its handshake for a defect, and throws where nobody catches. */
async function disconnect(client: Redis | Cluster): Promise<void> {
  if (client.status === 'connect') {
    await Promise.race([whenReady(client), delay(HANDSHAKE_MS, undefined, { ref: false })])
  }
  client.disconnect()
}

/** BullMQ makes the connection on which a worker waits for jobs as a copy of the one that it is given. */
function withWaitingCopies(client: Redis | Cluster): Redis | Cluster {
  const waiting = { socketTimeout: WAITING_SILENCE_MS }
  if (client instanceof Cluster) {
    const duplicate = client.duplicate.bind(client)
    client.duplicate = (nodes, options) =>
      duplicate(nodes, { ...options, redisOptions: { ...options?.redisOptions, ...waiting } })
  } else {
    const duplicate = client.duplicate.bind(client)
    client.duplicate = (options) => duplicate({ ...options, ...waiting })
  }
  return client
}

/** A single server, a cluster, or the primary that sentinels name; beside the last two the URL gives the credentials. */
function createRedisClient(settings: RedisSettings, options: ConnectionOptions): Redis | Cluster {
  const { url, clusterNodes, sentinels, sentinelName } = settings
  if (clusterNodes.length > 0) {
    return new Cluster([...clusterNodes], {
      redisOptions: { ...options, ...credentialsOf(url) },
      enableOfflineQueue: options.enableOfflineQueue ?? true,
    })
  }
  if (sentinels.length > 0 && sentinelName !== undefined) {
    return new Redis({ ...options, ...credentialsOf(url), sentinels: [...sentinels], name: sentinelName })
  }
  return url === undefined ? new Redis(options) : new Redis(url, options)
}

function credentialsOf(url: string | undefined): ConnectionOptions {
  if (url === undefined) return {}
  const { username, password, pathname, protocol, hostname } = new URL(url)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(/^\/\d+$/.test(pathname) ? { db: Number(pathname.slice(1)) } : {}),
    ...(protocol === 'rediss:' ? { tls: { servername: hostname } } : {}),
  }
}

async function whenReady(client: Redis | Cluster): Promise<void> {
  if (client.status !== 'ready') await new Promise<void>((resolve) => client.once('ready', () => resolve()))
}

function memoryUsed(info: string): number | undefined {
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
  const limit = field('maxmemory')
  return limit === 0 ? undefined : field('used_memory') / limit
}
