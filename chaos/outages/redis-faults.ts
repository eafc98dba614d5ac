/** What can happen to Redis. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { openTcpRelay, type TcpRelay } from '../../test/support/tcp-relay.ts'
import type { ScenarioContext } from '../scenario.ts'
import { type RedisStore, startRedisStore } from '../world/redis-store.ts'
import type { Fault } from './outage.ts'

const SECOND = 1_000

function redisOf({ world }: ScenarioContext): RedisStore {
  if (world.redis === undefined) throw new Error('this scenario needs Redis')
  return world.redis
}

export const killRedis: Fault = (ctx) => async () => {
  await redisOf(ctx).end()
  return () => redisOf(ctx).start()
}

export const fillRedis =
  (share: number): Fault =>
  (ctx) =>
  async () => {
    await redisOf(ctx).fill(share)
    return () => redisOf(ctx).removeBallast()
  }

/** Another user of the same Redis writes more than there is room for. */
export const makeRedisEvict: Fault = (ctx) => async () => {
  const redis = redisOf(ctx)
  await redis.fill(0.99)
  const evicted = await redis.overfill()
  await redis.removeBallast()
  ctx.note(`Redis deleted ${evicted} keys, some of them ballast`)
  ctx.check('Redis deletes keys', evicted > 0)
  return () => {}
}

export const flushRedis: Fault = (ctx) => async () => {
  await redisOf(ctx).use((redis) => redis.flushall())
  return () => {}
}

/**
 * The primary dies when some of its jobs have not reached the replica, and the replica takes its place. `withSuccessor`: a
 * second replica follows the new primary.
 */
export const failOverRedis =
  ({ withSuccessor }: { withSuccessor: boolean }): Fault =>
  async (ctx) => {
    const { world, auditor } = ctx
    const { replica, link } = await startReplica(ctx, redisOf(ctx), 'replica')
    return async () => {
      link.freeze()
      await ctx.pause(1 * SECOND)
      await redisOf(ctx).end()
      return async () => {
        await world.redisRelay?.takeDown()
        const queued = await auditor.countMissing()
        ctx.note(`${queued} acknowledged events were not stored yet when the primary died`)
        ctx.check('some were', queued > 0)
        await replica.use((redis) => redis.call('REPLICAOF', 'NO', 'ONE'))
        world.redisRelay?.redirect(replica.url)
        await world.redisRelay?.bringUp()
        world.redis = replica
        if (withSuccessor) await startReplica(ctx, replica, 'second-replica')
      }
    }
  }

type Replica = { replica: RedisStore; link: TcpRelay }

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
