/** A Redis that dies, hangs, fills up, or confirms before it has synced: it keeps what it held. */
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { intakeGoesOn, redisOf, reports } from './redis-checks.ts'

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
  async run(ctx) {
    await reports(ctx, /redis appendfsync is everysec/)
    await ctx.repeat(async () => {
      await ctx.pause(1 * SECOND, 3 * SECOND)
      // While a sync is under way Redis may hold a write back for up to 2 s and confirm it all the same.
      const acknowledgedFrom = performance.now() - 2 * SECOND
      await redisOf(ctx).kill()
      ctx.ledger.mayLose({ acknowledgedFrom, askedBefore: performance.now() })
      await ctx.recover()
    })
  },
}

export const redisScenarios = [
  redisKill,
  redisFrozen,
  redisAway,
  redisHalfOpen,
  redisFull,
  redisFullAtStart,
  redisEverysec,
]

/** Everything that has been acknowledged so far is stored while the fault goes on. */
async function isWorkedOff({ until, auditor }: ScenarioContext): Promise<void> {
  const since = performance.now()
  await until('what is on the queue is stored while Redis is full', 10 * SECOND, async () => {
    return (await auditor.countMissing(since)) === 0
  })
}
