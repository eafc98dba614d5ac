/** A Redis that dies, hangs, fills up, is emptied, or is set up wrong. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { openTcpRelay, type TcpRelay } from '../../test/support/tcp-relay.ts'
import { readReadiness } from '../readiness.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { type RedisStore, startRedisStore } from '../world/redis-store.ts'

const SECOND = 1_000
const ONLY_REDIS = ['redis'] as const
const AWAY_MS = 5 * SECOND

export const redisKill: Scenario = {
  name: 'redis-kill',
  promise: 'kill -9 of Redis at any moment: webhooks go to PostgreSQL meanwhile, and nothing is lost',
  backends: ONLY_REDIS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 3 * SECOND)
      await redisOf(ctx).kill(ctx.random.integer(1_500))
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const redisFrozen: Scenario = {
  name: 'redis-frozen',
  promise: 'Redis hangs for 5 s (SIGSTOP): one deadline is waited for, then webhooks go to PostgreSQL',
  backends: ONLY_REDIS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      redisOf(ctx).freeze()
      await ctx.pause(AWAY_MS)
      redisOf(ctx).thaw()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const redisAway: Scenario = {
  name: 'redis-away',
  promise: 'Redis refuses connections for 5 s: webhooks go to PostgreSQL meanwhile',
  backends: ONLY_REDIS,
  seconds: 10,
  async run(ctx) {
    const { redisRelay } = ctx.world
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      await redisRelay?.takeDown()
      await ctx.pause(AWAY_MS)
      await redisRelay?.bringUp()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const redisHalfOpen: Scenario = {
  name: 'redis-half-open',
  promise: 'connections to Redis die without a word, new ones work: everything recovers by itself',
  backends: ONLY_REDIS,
  seconds: 10,
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      ctx.world.redisRelay?.sever()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const redisFull: Scenario = {
  name: 'redis-full',
  promise: 'Redis reaches maxmemory: webhooks go to PostgreSQL, and workers work off what is on the queue',
  backends: ONLY_REDIS,
  seconds: 10,
  world: { redisArgs: ['--maxmemory', '24mb'] },
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      await redisOf(ctx).fill(1)
      await isWorkedOff(ctx)
      await ctx.pause(AWAY_MS)
      await redisOf(ctx).removeBallast()
      await ctx.recover()
    })
    intakeGoesOn(ctx)
  },
}

export const redisFullAtStart: Scenario = {
  name: 'redis-full-at-start',
  promise: 'processes started into a full Redis work, and use it as soon as there is room',
  backends: ONLY_REDIS,
  seconds: 10,
  world: { redisArgs: ['--maxmemory', '24mb'] },
  async run(ctx) {
    const { apis, workers } = ctx.world
    await ctx.repeat(async () => {
      for (const worker of workers) await worker.stop()
      await ctx.pause(1 * SECOND, 2 * SECOND)
      await redisOf(ctx).fill(1)
      for (const api of apis) {
        api.kill()
        await api.untilReady()
      }
      for (const worker of workers) await worker.start()
      await isWorkedOff(ctx)
      await ctx.pause(AWAY_MS)
      await redisOf(ctx).removeBallast()
      await ctx.recover()
    })
  },
}

export const redisEverysec: Scenario = {
  name: 'redis-everysec',
  promise:
    'appendfsync everysec is reported as unsafe; kill -9 of Redis alone loses nothing that it had handed to the system',
  backends: ONLY_REDIS,
  seconds: 10,
  world: { redisArgs: ['--appendfsync', 'everysec'] },
  // While a sync is under way Redis may hold a write back for up to 2 s and confirm it all the same.
  limits: { loss: 'measured' },
  async run(ctx) {
    await reports(ctx, /redis appendfsync is everysec/)
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 3 * SECOND)
      await redisOf(ctx).kill()
      await ctx.recover()
    })
  },
}

export const redisEvicts: Scenario = {
  name: 'redis-evicts',
  promise: 'a Redis that may forget jobs is reported; what it forgets is lost, and the service goes on',
  backends: ONLY_REDIS,
  seconds: 1,
  world: { redisArgs: ['--maxmemory', '16mb', '--maxmemory-policy', 'allkeys-random', '--appendonly', 'no'] },
  load: { rate: 60, maxRedeliveries: 0 },
  limits: { loss: 'measured' },
  async run(ctx) {
    await reports(ctx, /redis maxmemory-policy is allkeys-random/, /redis appendonly is no/)
    for (const worker of ctx.world.workers) await worker.stop()
    await ctx.pause(3 * SECOND)
    // As another user of the same Redis would.
    await redisOf(ctx).fill(0.99)
    const evicted = await redisOf(ctx).overfill()
    await redisOf(ctx).removeBallast()
    ctx.note(`Redis deleted ${evicted} keys, some of them ballast`)
    ctx.check('Redis deletes keys', evicted > 0)
    for (const worker of ctx.world.workers) await worker.start()
    await ctx.pause(2 * SECOND)
  },
}

export const redisFlushall: Scenario = {
  name: 'redis-flushall',
  promise: 'FLUSHALL loses what was acknowledged and not stored yet, nothing else, and the service goes on',
  backends: ONLY_REDIS,
  seconds: 10,
  load: { maxRedeliveries: 0 },
  limits: { loss: 'measured' },
  async run(ctx) {
    let mayBeLost = 0
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      for (const worker of ctx.world.workers) worker.freeze()
      await ctx.pause(500, 1_500)
      await redisOf(ctx).use((redis) => redis.flushall())
      // The answers to what it had confirmed before are on their way for a moment.
      await ctx.pause(500)
      const at = performance.now()
      mayBeLost += await ctx.auditor.countMissing()
      for (const worker of ctx.world.workers) worker.thaw()
      // What came after it is stored; what was there before is not waited for.
      await goesOn(ctx, at)
    })
    const lost = await ctx.auditor.countMissing(performance.now() - 10 * SECOND)
    ctx.note(`${mayBeLost} acknowledged events were not stored yet when it was emptied`)
    ctx.check(`no more is lost (${lost}) than was on the queue (${mayBeLost})`, lost <= mayBeLost)
  },
}

export const redisFailover: Scenario = {
  name: 'redis-failover',
  promise:
    'failover to a replica that lagged loses what had not reached it, nothing else, and the service goes on',
  backends: ONLY_REDIS,
  seconds: 1,
  load: { maxRedeliveries: 0 },
  limits: { loss: 'measured' },
  async run(ctx) {
    await failOver(ctx, await startReplica(ctx, redisOf(ctx)))
  },
}

export const redisFailoverWaiting: Scenario = {
  name: 'redis-failover-waiting',
  promise: 'with REDIS_WAIT_REPLICAS, failover to a replica that lagged loses nothing',
  backends: ONLY_REDIS,
  seconds: 1,
  world: { env: { REDIS_WAIT_REPLICAS: '1' } },
  load: { maxRedeliveries: 0 },
  async run(ctx) {
    await failOver(ctx, await startReplica(ctx, redisOf(ctx)))
    const refused = ctx.ledger.requests().answers['503'] ?? 0
    ctx.check(`no webhook is refused while PostgreSQL is there (${refused} were)`, refused === 0)
  },
}

type Replica = { replica: RedisStore; link: TcpRelay }

/** With jobs on the queue that nobody works off, some of them not on the replica. */
async function failOver(ctx: ScenarioContext, { replica, link }: Replica): Promise<void> {
  const primary = redisOf(ctx)
  for (const worker of ctx.world.workers) worker.freeze()
  await ctx.pause(1 * SECOND)
  link.freeze()
  await ctx.pause(1 * SECOND)
  await primary.end()
  await ctx.world.redisRelay?.takeDown()
  // The answers to what it had confirmed before are on their way for a moment.
  await ctx.pause(500)
  const mayBeLost = await ctx.auditor.countMissing()
  await replica.use((redis) => redis.call('REPLICAOF', 'NO', 'ONE'))
  ctx.world.redisRelay?.redirect(replica.url)
  await ctx.world.redisRelay?.bringUp()
  ctx.world.redis = replica
  const at = performance.now()
  for (const worker of ctx.world.workers) worker.thaw()
  await goesOn(ctx, at)
  const lost = await ctx.auditor.countMissing(at)
  ctx.note(`${mayBeLost} acknowledged events were not stored yet when the primary died`)
  ctx.check('some were', mayBeLost > 0)
  ctx.check(`no more is lost (${lost}) than was on the queue (${mayBeLost})`, lost <= mayBeLost)
}

export const redisScenarios = [
  ...[redisKill, redisFrozen, redisAway, redisHalfOpen, redisFull, redisFullAtStart],
  ...[redisEverysec, redisEvicts, redisFlushall, redisFailover, redisFailoverWaiting],
]

function redisOf({ world }: ScenarioContext): RedisStore {
  if (world.redis === undefined) throw new Error('this scenario needs Redis')
  return world.redis
}

/** PostgreSQL was there all the time. */
function intakeGoesOn({ ledger, check }: ScenarioContext): void {
  const refused = ledger.requests().answers['503'] ?? 0
  check(`no webhook is refused while PostgreSQL is there (${refused} were)`, refused === 0)
}

/** Everything that has been acknowledged so far is stored while the fault goes on. */
async function isWorkedOff({ until, auditor }: ScenarioContext): Promise<void> {
  const since = performance.now()
  await until('what is on the queue is stored while Redis is full', 10 * SECOND, async () => {
    return (await auditor.countMissing(since)) === 0
  })
}

/** For where something is lost for good: what was acknowledged from this moment on is stored within the limit. */
async function goesOn(ctx: ScenarioContext, since: number): Promise<void> {
  await ctx.pause(1 * SECOND)
  const until = performance.now()
  await ctx.until('what was acknowledged afterwards is stored', 20 * SECOND, async () => {
    const before = await ctx.auditor.countMissing(since)
    return (await ctx.auditor.countMissing(until)) === before
  })
}

async function reports(ctx: ScenarioContext, ...findings: RegExp[]): Promise<void> {
  for (const url of ctx.world.urls) {
    const { status, text } = await readReadiness(url)
    ctx.check(`the receiver is ready all the same (${status})`, status === 200)
    for (const finding of findings) ctx.check(`readiness says ${finding.source}`, finding.test(text))
  }
  for (const finding of findings) {
    ctx.check(
      `the log of the start says ${finding.source}`,
      ctx.world.apis.every((api) => finding.test(api.output())),
    )
  }
}

/** Follows the primary through a relay, so that it can be cut off. */
async function startReplica(ctx: ScenarioContext, primary: RedisStore): Promise<Replica> {
  const link = await openTcpRelay(primary.url)
  ctx.releases.add('link of the replica', () => link.close())
  // A full copy would otherwise wait 5 s for more replicas to come.
  await primary.use((redis) => redis.config('SET', 'repl-diskless-sync-delay', '0'))
  const directory = path.join(ctx.world.directory, 'replica')
  mkdirSync(directory, { recursive: true })
  const { port } = new URL(link.url)
  const replica = await startRedisStore({ directory, args: ['--replicaof', '127.0.0.1', port] })
  ctx.releases.add('replica', () => replica.close())
  await ctx.until('the replica follows the primary', 20 * SECOND, () =>
    replica.use(async (redis) => /master_link_status:up/.test(await redis.info('replication'))),
  )
  return { replica, link }
}
