/** Every outage of a store: what is taken away and how, for how long, and what is promised. outage.ts plays them. */
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { mountMemory, whyNoMounts } from '../world/mounts.ts'
import { BACKENDS } from '../world/world.ts'
import { freeze, refuseConnections, severConnections } from './connection-faults.ts'
import { type Outage, scenarioOf } from './outage.ts'
import * as postgres from './postgres-faults.ts'
import { failPower, placeStoresOnDisk } from './power-failure.ts'
import * as redis from './redis-faults.ts'

const SECOND = 1_000
const MEGABYTE = 2 ** 20
const ONLY_REDIS = ['redis'] as const
const FIVE_SECONDS = [5 * SECOND, 5 * SECOND] as const
const TEN_SECONDS = [10 * SECOND, 10 * SECOND] as const
/** Redis syncs every second, and while a sync is under way it may hold a write back for up to 2 s and confirm it. */
const UNSYNCED_MS = 2 * SECOND
/** Workers keep up: what was acknowledged this long ago is stored. */
const STORED_AFTER_MS = 2 * SECOND
/** How far a replica that follows its primary may lag. */
const REPLICATION_MS = 500

/** What several outages have in common. */
type Part = Partial<Outage>
const NO_REDELIVERIES = { maxRedeliveries: 0 }
const FAILOVER = {
  isOnce: true,
  idleWorkers: { how: 'frozen', forMs: [1 * SECOND, 1 * SECOND] },
} satisfies Part
const POWER = {
  seconds: 8,
  unavailable: whyNoMounts,
  everyMs: [1 * SECOND, 3 * SECOND],
  idleWorkers: { how: 'frozen', forMs: [200, 1_200] },
  fault: failPower,
} satisfies Part
const WEBHOOKS_GO_TO_POSTGRES = {
  backends: ONLY_REDIS,
  webhooks: 'stored while PostgreSQL is there',
} satisfies Part
const QUEUE_HOLDS = { backends: BACKENDS, webhooks: 'stored while Redis is there' } satisfies Part
const REDIS_LOSES = {
  backends: ONLY_REDIS,
  webhooks: 'either',
  load: NO_REDELIVERIES,
  limits: { losesSome: true },
} satisfies Part
const ALL_REFUSED = { backends: BACKENDS, webhooks: 'refused', awayMs: TEN_SECONDS } satisfies Part

const OUTAGES_BY_NAME: Record<string, Outage> = {
  'redis-kill': {
    promise: 'kill -9 of Redis at any moment: webhooks go to PostgreSQL meanwhile, and nothing is lost',
    ...WEBHOOKS_GO_TO_POSTGRES,
    fault: redis.killRedis,
    everyMs: [1 * SECOND, 3 * SECOND],
    awayMs: [0, 1.5 * SECOND],
  },
  'redis-frozen': {
    promise: 'Redis hangs for 5 s (SIGSTOP): one deadline is waited for, then webhooks go to PostgreSQL',
    ...WEBHOOKS_GO_TO_POSTGRES,
    fault: freeze('redis'),
    awayMs: FIVE_SECONDS,
  },
  'redis-away': {
    promise: 'Redis refuses connections for 5 s: webhooks go to PostgreSQL meanwhile',
    ...WEBHOOKS_GO_TO_POSTGRES,
    fault: refuseConnections('redis'),
    awayMs: FIVE_SECONDS,
  },
  'redis-half-open': {
    promise: 'connections to Redis die without a word, new ones work: everything recovers by itself',
    ...WEBHOOKS_GO_TO_POSTGRES,
    fault: severConnections('redis'),
  },
  'redis-full': {
    promise: 'Redis reaches maxmemory: webhooks go to PostgreSQL, and workers work off what is on the queue',
    ...WEBHOOKS_GO_TO_POSTGRES,
    world: { redisArgs: ['--maxmemory', '24mb'] },
    fault: redis.fillRedis(1),
    meanwhile: untilQueueIsStored,
    awayMs: FIVE_SECONDS,
  },
  'redis-full-at-start': {
    promise: 'processes started into a full Redis work, and use it as soon as there is room',
    backends: ONLY_REDIS,
    world: { redisArgs: ['--maxmemory', '24mb'] },
    everyMs: [0, 0],
    idleWorkers: { how: 'stopped', forMs: [1 * SECOND, 2 * SECOND] },
    fault: redis.fillRedis(1),
    meanwhile: async (ctx) => {
      for (const api of ctx.world.apis) {
        api.kill()
        await api.untilReady()
      }
      for (const worker of ctx.world.workers) await worker.start()
      await untilQueueIsStored(ctx)
    },
    awayMs: FIVE_SECONDS,
    webhooks: 'either',
  },
  'redis-everysec': {
    promise:
      'appendfsync everysec is reported as unsafe; kill -9 of Redis alone loses nothing that it had handed to the system',
    backends: ONLY_REDIS,
    world: { redisArgs: ['--appendfsync', 'everysec'] },
    findings: [/redis appendfsync is everysec/],
    fault: redis.killRedis,
    everyMs: [1 * SECOND, 3 * SECOND],
    mayLose: { sinceMs: UNSYNCED_MS, before: 'fault' },
    webhooks: 'either',
  },
  'redis-evicts': {
    promise: 'a Redis that may forget jobs is reported; what it forgets is lost, and the service goes on',
    ...REDIS_LOSES,
    load: { rate: 60, ...NO_REDELIVERIES },
    world: {
      redisArgs: ['--maxmemory', '16mb', '--maxmemory-policy', 'allkeys-random', '--appendonly', 'no'],
    },
    findings: [/redis maxmemory-policy is allkeys-random/, /redis appendonly is no/],
    isOnce: true,
    idleWorkers: { how: 'stopped', forMs: [3 * SECOND, 3 * SECOND] },
    fault: redis.makeRedisEvict,
    mayLose: { sinceMs: STORED_AFTER_MS, before: 'idle workers' },
  },
  'redis-flushall': {
    promise: 'FLUSHALL loses what was acknowledged and not stored yet, nothing else, and the service goes on',
    ...REDIS_LOSES,
    idleWorkers: { how: 'frozen', forMs: [0.5 * SECOND, 1.5 * SECOND] },
    fault: redis.flushRedis,
    mayLose: { sinceMs: STORED_AFTER_MS, before: 'idle workers' },
  },
  'redis-failover': {
    promise:
      'failover to a replica that lagged loses what had not reached it, nothing else, and the service goes on',
    ...REDIS_LOSES,
    ...FAILOVER,
    fault: redis.failOverRedis({ withSuccessor: false }),
    mayLose: { sinceMs: REPLICATION_MS, before: 'fault' },
  },
  'redis-failover-waiting': {
    promise: 'with REDIS_WAIT_REPLICAS, failover to a replica that lagged loses nothing',
    ...WEBHOOKS_GO_TO_POSTGRES,
    load: NO_REDELIVERIES,
    world: { env: { REDIS_WAIT_REPLICAS: '1' } },
    ...FAILOVER,
    // Without a replica the queue confirms nothing, and every webhook goes to PostgreSQL.
    fault: redis.failOverRedis({ withSuccessor: true }),
  },
  'postgres-kill': {
    promise: 'kill -9 of PostgreSQL at any moment loses nothing; workers go on when it is back',
    ...QUEUE_HOLDS,
    fault: postgres.killPostgres,
    everyMs: [1 * SECOND, 3 * SECOND],
  },
  'postgres-restart': {
    promise: 'PostgreSQL is away for 5 s: the queue holds, and nobody has to be started again',
    ...QUEUE_HOLDS,
    fault: postgres.stopPostgres,
    awayMs: FIVE_SECONDS,
  },
  'postgres-frozen': {
    promise: 'PostgreSQL hangs for 5 s (SIGSTOP): the queue holds, and what was under way is stored once',
    ...QUEUE_HOLDS,
    fault: freeze('postgres'),
    awayMs: FIVE_SECONDS,
  },
  'postgres-half-open': {
    promise: 'connections to PostgreSQL die without a word, new ones work: everything recovers by itself',
    ...QUEUE_HOLDS,
    fault: severConnections('postgres'),
  },
  'postgres-slow': {
    promise:
      'every row takes 100 ms for 15 s: the queue holds, and messages are stored all the while, in smaller batches',
    ...QUEUE_HOLDS,
    isOnce: true,
    fault: postgres.slowDownPostgres,
    awayMs: FIVE_SECONDS,
    meanwhile: untilSlowlyStored,
  },
  'postgres-read-only': {
    promise: 'PostgreSQL takes no writes for 5 s: nothing is parked or lost, and writing goes on by itself',
    ...QUEUE_HOLDS,
    fault: postgres.forbidPostgresWrites,
    awayMs: FIVE_SECONDS,
  },
  'postgres-full': {
    promise:
      'the disk of PostgreSQL is full for 5 s: nothing is parked or lost, and it goes on when there is room',
    ...QUEUE_HOLDS,
    unavailable: whyNoMounts,
    load: { rate: 20 },
    world: {
      postgresSettings: { max_wal_size: '48MB', min_wal_size: '32MB' },
      placeStores: async (directory, releases) => ({
        postgres: await mountMemory(directory, 'small-disk', '160m', releases),
      }),
    },
    fault: postgres.fillPostgresDisk,
    awayMs: FIVE_SECONDS,
  },
  'postgres-connection-storm': {
    promise:
      'every connection slot of PostgreSQL is taken for 5 s, and the service has lost its own: nothing is lost',
    ...QUEUE_HOLDS,
    fault: postgres.takeEverySlot,
    awayMs: FIVE_SECONDS,
  },
  'postgres-terminations': {
    promise:
      "the service's sessions are ended again and again while they work: nothing is lost or stored twice",
    ...QUEUE_HOLDS,
    seconds: 8,
    fault: postgres.terminateSessions,
    everyMs: [50, 250],
    isContinuous: true,
  },
  'stores-frozen': {
    promise: 'no store answers for 10 s: 503 in bounded time, mostly at once, in bounded memory',
    ...ALL_REFUSED,
    load: { rate: 20 },
    fault: freeze('postgres', 'redis'),
  },
  'stores-refusing': {
    promise: 'no store takes connections for 10 s: 503 at once, in bounded memory',
    ...ALL_REFUSED,
    load: { rate: 20 },
    fault: refuseConnections('postgres', 'redis'),
  },
  'stores-frozen-under-burst': {
    promise:
      'no store answers while five times as much comes in: 503 in bounded time, memory does not grow with it',
    ...ALL_REFUSED,
    load: { rate: 12 },
    limits: { rssBytes: 320 * MEGABYTE },
    fault: freeze('postgres', 'redis'),
    rateMeanwhile: 60,
  },
  'power-loss': {
    promise:
      'the machine of both stores loses its power: with the settings of docker-compose.yml nothing is lost',
    ...POWER,
    backends: BACKENDS,
    world: { placeStores: placeStoresOnDisk },
    webhooks: 'either',
  },
  'power-loss-everysec': {
    promise:
      'with appendfsync everysec a power failure loses what was acknowledged in the last two seconds at most, as reported',
    ...POWER,
    ...REDIS_LOSES,
    world: { placeStores: placeStoresOnDisk, redisArgs: ['--appendfsync', 'everysec'] },
    findings: [/redis appendfsync is everysec/],
    mayLose: { sinceMs: UNSYNCED_MS, before: 'fault' },
  },
}

export const OUTAGES: readonly Scenario[] = Object.entries(OUTAGES_BY_NAME).map(([name, outage]) =>
  scenarioOf(name, outage),
)

/** When there is a backlog for full batches, messages are still stored. */
async function untilSlowlyStored({ pause, until, world }: ScenarioContext): Promise<void> {
  const count = async () => {
    const rows = await world.postgres.query<{ count: number }>(
      'SELECT count(*)::integer AS count FROM chat_messages',
    )
    return rows[0]?.count ?? 0
  }
  await pause(10 * SECOND)
  const before = await count()
  await until('messages are stored while PostgreSQL is slow', 20 * SECOND, async () => {
    return (await count()) >= before + 20
  })
}

/** Everything that was acknowledged before this moment is stored while the outage goes on. */
async function untilQueueIsStored({ until, auditor }: ScenarioContext): Promise<void> {
  const since = performance.now()
  await until('what is on the queue is stored while Redis is full', 10 * SECOND, async () => {
    return (await auditor.countMissing(since)) === 0
  })
}
