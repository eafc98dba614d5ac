/** A Redis that loses what it held: it evicts, is emptied, or is replaced by a replica that lagged. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { openTcpRelay, type TcpRelay } from '../../test/support/tcp-relay.ts'
import type { LossWindow } from '../load/ledger.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { type RedisStore, startRedisStore } from '../world/redis-store.ts'
import { intakeGoesOn, redisOf, reports } from './redis-checks.ts'

const SECOND = 1_000
const ONLY_REDIS = ['redis'] as const
/** Workers keep up: what was acknowledged so long ago is stored. */
const KEEPING_UP_MS = 2 * SECOND
/** Redis hands over to its replica all the time. */
const REPLICATION_MS = 500

export const redisEvicts: Scenario = {
  name: 'redis-evicts',
  promise: 'a Redis that may forget jobs is reported; what it forgets is lost, and the service goes on',
  backends: ONLY_REDIS,
  seconds: 1,
  world: { redisArgs: ['--maxmemory', '16mb', '--maxmemory-policy', 'allkeys-random', '--appendonly', 'no'] },
  load: { rate: 60, maxRedeliveries: 0 },
  limits: { losesSome: true },
  async run(ctx) {
    await reports(ctx, /redis maxmemory-policy is allkeys-random/, /redis appendonly is no/)
    const acknowledgedFrom = performance.now() - KEEPING_UP_MS
    for (const worker of ctx.world.workers) await worker.stop()
    await ctx.pause(3 * SECOND)
    // As another user of the same Redis would.
    await redisOf(ctx).fill(0.99)
    const evicted = await redisOf(ctx).overfill()
    await redisOf(ctx).removeBallast()
    ctx.ledger.mayLose({ acknowledgedFrom, askedBefore: performance.now() })
    ctx.note(`Redis deleted ${evicted} keys, some of them ballast`)
    ctx.check('Redis deletes keys', evicted > 0)
    for (const worker of ctx.world.workers) await worker.start()
    await ctx.recover()
    await ctx.pause(2 * SECOND)
  },
}

export const redisFlushall: Scenario = {
  name: 'redis-flushall',
  promise: 'FLUSHALL loses what was acknowledged and not stored yet, nothing else, and the service goes on',
  backends: ONLY_REDIS,
  seconds: 10,
  load: { maxRedeliveries: 0 },
  limits: { losesSome: true },
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 2 * SECOND)
      const acknowledgedFrom = performance.now() - KEEPING_UP_MS
      for (const worker of ctx.world.workers) worker.freeze()
      await ctx.pause(500, 1_500)
      await redisOf(ctx).use((redis) => redis.flushall())
      ctx.ledger.mayLose({ acknowledgedFrom, askedBefore: performance.now() })
      for (const worker of ctx.world.workers) worker.thaw()
      await ctx.recover()
    })
  },
}

export const redisFailover: Scenario = {
  name: 'redis-failover',
  promise:
    'failover to a replica that lagged loses what had not reached it, nothing else, and the service goes on',
  backends: ONLY_REDIS,
  seconds: 1,
  load: { maxRedeliveries: 0 },
  limits: { losesSome: true },
  async run(ctx) {
    ctx.ledger.mayLose(await failOver(ctx, await startReplica(ctx, redisOf(ctx), 'replica')))
    await ctx.recover()
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
    await failOver(ctx, await startReplica(ctx, redisOf(ctx), 'replica'))
    // Without one the queue confirms nothing, and every webhook goes to PostgreSQL.
    await startReplica(ctx, redisOf(ctx), 'second-replica')
    await ctx.recover()
    intakeGoesOn(ctx)
  },
}

type Replica = { replica: RedisStore; link: TcpRelay }

/**
 * With jobs on the queue that nobody works off, some of them not on the replica.
 * @returns when what had not reached it was acknowledged.
 */
async function failOver(ctx: ScenarioContext, { replica, link }: Replica): Promise<LossWindow> {
  const { world, auditor } = ctx
  const primary = redisOf(ctx)
  for (const worker of world.workers) worker.freeze()
  await ctx.pause(1 * SECOND)
  const acknowledgedFrom = performance.now() - REPLICATION_MS
  link.freeze()
  await ctx.pause(1 * SECOND)
  await primary.end()
  const askedBefore = performance.now()
  await world.redisRelay?.takeDown()
  const queued = await auditor.countMissing()
  ctx.note(`${queued} acknowledged events were not stored yet when the primary died`)
  ctx.check('some were', queued > 0)
  await replica.use((redis) => redis.call('REPLICAOF', 'NO', 'ONE'))
  world.redisRelay?.redirect(replica.url)
  await world.redisRelay?.bringUp()
  world.redis = replica
  for (const worker of world.workers) worker.thaw()
  return { acknowledgedFrom, askedBefore }
}

export const redisDataLossScenarios = [redisEvicts, redisFlushall, redisFailover, redisFailoverWaiting]

/** Follows the primary through a relay, so that it can be cut off. */
async function startReplica(ctx: ScenarioContext, primary: RedisStore, name: string): Promise<Replica> {
  const link = await openTcpRelay(primary.url)
  ctx.releases.add(`link of the ${name}`, () => link.close())
  // A full copy would otherwise wait 5 s for more replicas to come.
  await primary.use((redis) => redis.config('SET', 'repl-diskless-sync-delay', '0'))
  const directory = path.join(ctx.world.directory, name)
  mkdirSync(directory, { recursive: true })
  const { port } = new URL(link.url)
  const replica = await startRedisStore({ directory, args: ['--replicaof', '127.0.0.1', port] })
  ctx.releases.add(name, () => replica.close())
  await ctx.until('the replica follows the primary', 20 * SECOND, () =>
    replica.use(async (redis) => /master_link_status:up/.test(await redis.info('replication'))),
  )
  return { replica, link }
}
