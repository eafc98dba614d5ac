/**
 * BullMQ on Redis.
 *
 * There are two kinds of connections. A producer's connection fails fast (no offline queue, one try, a time-out on every
 * command), so that the receiver can take its direct path within its deadline. A worker's connection waits for Redis as long
 * as it takes. `skipWaitingForReady` together with `skipVersionCheck` lets a producer start while Redis is away and recover
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

export type RedisSettings = {
  url?: string | undefined
  clusterNodes: readonly { host: string; port: number }[]
  sentinels: readonly { host: string; port: number }[]
  sentinelName?: string | undefined
  /** How many replicas must have an event before it counts as durable; absent: none. Not for a cluster. */
  waitReplicas?: number | undefined
}

export type RedisBackendOptions = {
  redis: RedisSettings
  /** Called with errors of connections, after which the client connects again. */
  onError: (err: Error) => void
}

const CONNECT_TIMEOUT_MS = 2_000
const HANDSHAKE_MS = 500
/** A little more than the producer's own deadline: callers see the deadline, and the command is freed soon after. */
const COMMAND_TIMEOUT_MS = 1_200
/**
 * How long a connection may be silent while a command waits, before the client closes it and opens a new one. A time-out of
 * the command alone would leave a dead connection in use, and a worker's commands have none.
 */
const PRODUCER_SILENCE_MS = 1_500
const WORKER_SILENCE_MS = 4_000
/** Longer than BullMQ waits for a job or an event: 10 s. */
const WAITING_SILENCE_MS = 15_000
/** Longer than an inbound consumer waits: 3 s. */
const INBOUND_WAITING_SILENCE_MS = 5_000
const MAX_RECONNECT_DELAY_MS = 1_000

/** Completed jobs are kept so that the queue drops their duplicates; each costs Redis 1.8 kB of memory. */
const KEEP_COMPLETED = { age: 3600, count: 10_000 }

/** Without the one option whose type excludes `undefined`, which the constructors' types pass. */
type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>

const COMMON: ConnectionOptions = {
  connectTimeout: CONNECT_TIMEOUT_MS,
  retryStrategy: (attempt) => Math.min(attempt * 50, MAX_RECONNECT_DELAY_MS),
  // A primary that becomes a replica keeps its connections; a new connection may reach the new primary. The refused command
  // is not repeated, its caller gets the error. Redis 6 puts more words around READONLY.
  reconnectOnError: ({ message }) => message.includes('READONLY'),
}
const FAIL_FAST: ConnectionOptions = {
  ...COMMON,
  enableOfflineQueue: false,
  // Otherwise ioredis repeats the commands that a broken connection left unanswered, and a server that has taken over
  // meanwhile confirms (WAIT) an add that it never got.
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT_MS,
  socketTimeout: PRODUCER_SILENCE_MS,
}
const PATIENT: ConnectionOptions = {
  ...COMMON,
  maxRetriesPerRequest: null,
  socketTimeout: WORKER_SILENCE_MS,
}
/** Waits for Redis, but rejects a command whose answer was lost: a call to reserve must not be repeated (inbound-jobs.ts). */
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
    createWorker: (name, processor, options) => {
      const connection = withPatientDuplicates(connect(PATIENT))
      const settings = { ...shared, ...workerSettings(options), removeOnComplete: KEEP_COMPLETED }
      const worker = new Worker(name, processor, { ...settings, connection })
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
          stalled: { intervalMs: STALLED_INTERVAL_MS, maxCount: MAX_STALLED_COUNT },
          keepCompleted: KEEP_COMPLETED,
        }),
        extendLocksIntervalMs: LOCK_MS / 2,
        requeueStalledIntervalMs: STALLED_INTERVAL_MS,
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

/** Waits for the handshake: ioredis throws an uncatchable error for a reply that comes when it closes in the middle of it. */
async function disconnect(client: Redis | Cluster): Promise<void> {
  if (client.status === 'connect') {
    await Promise.race([whenReady(client), delay(HANDSHAKE_MS, undefined, { ref: false })])
  }
  client.disconnect()
}

/** BullMQ duplicates a worker's connection to wait for jobs on it. The duplicate may be silent for longer. */
function withPatientDuplicates(client: Redis | Cluster): Redis | Cluster {
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

/** A single server, a cluster, or the primary that sentinels name. For the last two the URL gives only the credentials. */
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
