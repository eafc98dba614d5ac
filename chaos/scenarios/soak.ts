/** Load with a fault every few seconds. With `--minutes 30`: memory must stay flat. Otherwise only a short one. */
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000
const MEGABYTE = 2 ** 20

export const soak: Scenario = {
  name: 'soak',
  promise: 'under load with faults, for as long as one likes, the memory of every process stays flat',
  backends: BACKENDS,
  seconds: 15,
  // The first of each is never killed: its memory is what is looked at.
  // Small, so that filling it up does not take most of the time.
  world: { apis: 2, workers: 2, redisArgs: ['--maxmemory', '96mb'] },
  load: { rate: 20, people: 2_000 },
  // As where a worker is killed: some are.
  limits: { recoveryMs: 15 * SECOND, rssBytes: 400 * MEGABYTE },
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(5 * SECOND, 15 * SECOND)
      await ctx.random.pick(faultsOf(ctx))()
      await ctx.recover()
      // A server notices by its keepalives; without, what was severed in half an hour would use up its connections.
      ctx.world.postgresRelay.cutSevered()
      ctx.world.redisRelay?.cutSevered()
    })
  },
}

export const soakScenarios = [soak]

type Fault = () => Promise<void>

function faultsOf(ctx: ScenarioContext): [Fault, ...Fault[]] {
  const { world } = ctx
  const { postgres, redis } = world
  const last = <T>(list: readonly T[]) => list.at(-1)
  const always: [Fault, ...Fault[]] = [
    async () => {
      last(world.apis)?.kill()
      await last(world.apis)?.untilReady()
    },
    async () => {
      last(world.workers)?.kill()
      await last(world.workers)?.untilReady()
    },
    async () => {
      await last(world.workers)?.restart()
      await last(world.workers)?.untilReady()
    },
    () => postgres.kill(),
    () => postgres.restart(3 * SECOND),
    async () => {
      postgres.freeze()
      await ctx.pause(3 * SECOND)
      postgres.thaw()
    },
    async () => world.postgresRelay.sever(),
  ]
  if (redis === undefined) return always
  return [
    ...always,
    () => redis.kill(1 * SECOND),
    async () => {
      redis.freeze()
      await ctx.pause(3 * SECOND)
      redis.thaw()
    },
    async () => world.redisRelay?.sever(),
    async () => {
      await redis.fill(0.9)
      await ctx.pause(3 * SECOND)
      await redis.removeBallast()
    },
  ]
}
