/** Load with a fault every few seconds. With `--minutes 30`: memory must stay flat. Otherwise only a short one. */
import { freeze, severConnections } from '../outages/connection-faults.ts'
import type { Fault, Span } from '../outages/outage.ts'
import { killPostgres, stopPostgres } from '../outages/postgres-faults.ts'
import { fillRedis, killRedis } from '../outages/redis-faults.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import type { ServiceProcess } from '../world/service-process.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000
const MEGABYTE = 2 ** 20
const AT_ONCE = [0, 0] as const
const THREE_SECONDS = [3 * SECOND, 3 * SECOND] as const

export const soak: Scenario = {
  name: 'soak',
  promise: 'under load with faults, for as long as one likes, the memory of every process stays flat',
  backends: BACKENDS,
  seconds: 15,
  // Redis is small, so that filling it up does not take most of the time.
  world: { apis: 2, workers: 2, redisArgs: ['--maxmemory', '96mb'] },
  load: { rate: 20, people: 2_000 },
  // As where a worker is killed: some are.
  limits: { recoveryMs: 15 * SECOND, rssBytes: 400 * MEGABYTE },
  async run(ctx) {
    const faults = faultsOf(ctx) as [[Fault, Span]]
    await ctx.repeat(async () => {
      await ctx.pause(5 * SECOND, 15 * SECOND)
      const [fault, awayMs] = ctx.random.pick(faults)
      const giveBack = await (await fault(ctx))()
      await ctx.pause(...awayMs)
      await giveBack()
      await ctx.recover()
      // A real server ends dead connections by its keepalives; the severed ones of half an hour would fill its slots.
      ctx.world.postgresRelay.cutSevered()
      ctx.world.redisRelay?.cutSevered()
    })
  },
}

export const soakScenarios = [soak]

/** With how long each one lasts. The first process of each kind is never killed: its memory is the one that is watched. */
function faultsOf({ world }: ScenarioContext): [Fault, Span][] {
  const kill = (processes: readonly ServiceProcess[]) => async () => {
    processes.at(-1)?.kill()
    return () => processes.at(-1)?.untilReady()
  }
  const restartWorker = async () => {
    await world.workers.at(-1)?.restart()
    return () => world.workers.at(-1)?.untilReady()
  }
  const always: [Fault, Span][] = [
    [() => kill(world.apis), AT_ONCE],
    [() => kill(world.workers), AT_ONCE],
    [() => restartWorker, AT_ONCE],
    [killPostgres, AT_ONCE],
    [stopPostgres, THREE_SECONDS],
    [freeze('postgres'), THREE_SECONDS],
    [severConnections('postgres'), AT_ONCE],
  ]
  if (world.redis === undefined) return always
  return [
    ...always,
    [killRedis, [1 * SECOND, 1 * SECOND]],
    [freeze('redis'), THREE_SECONDS],
    [severConnections('redis'), AT_ONCE],
    [fillRedis(0.9), THREE_SECONDS],
  ]
}
