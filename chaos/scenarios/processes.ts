/** Processes of the service that are killed, stopped, frozen, many, or have a wrong clock. */
import path from 'node:path'
import { type Fault, scenarioOf } from '../outages/outage.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import type { ServiceProcess } from '../world/service-process.ts'
import { BACKENDS } from '../world/world.ts'

const SECOND = 1_000
/** The lock of a job expires after 5 s, and two checks must find it expired. The rest is time to start the process again. */
const ABANDONED_JOBS_MS = 15 * SECOND
/** See docs/guarantees.md: with the queue on PostgreSQL the usual 100 are not enough for so many processes. */
const ROOM_FOR_FIVE = { max_connections: '250' }
/** A container runtime has to wait at least this long before it kills a process. */
const LONGEST_STOP_MS = 5 * SECOND

const EVERY_FEW_SECONDS = [1 * SECOND, 3 * SECOND] as const

const kill =
  (processes: 'apis' | 'workers'): Fault =>
  ({ world }) =>
  async () => {
    world[processes][0]?.kill()
    return () => world[processes][0]?.untilReady()
  }

export const killApi = scenarioOf('kill-api', {
  promise: 'kill -9 of the receiver at any moment loses nothing that it acknowledged',
  backends: BACKENDS,
  seconds: 8,
  fault: kill('apis'),
  everyMs: EVERY_FEW_SECONDS,
  webhooks: 'either',
})

export const killWorker = scenarioOf('kill-worker', {
  promise: 'kill -9 of a worker at any moment loses nothing; its jobs run again by themselves',
  backends: BACKENDS,
  seconds: 8,
  limits: { recoveryMs: ABANDONED_JOBS_MS },
  fault: kill('workers'),
  everyMs: EVERY_FEW_SECONDS,
  webhooks: 'either',
})

export const deploy: Scenario = {
  name: 'deploy',
  promise: 'SIGTERM to one process after the other under load: each ends in time, nothing is lost',
  backends: BACKENDS,
  seconds: 8,
  world: { apis: 2, workers: 3, postgresSettings: ROOM_FOR_FIVE },
  limits: { recoveryMs: ABANDONED_JOBS_MS },
  async run(ctx) {
    const { apis, workers } = ctx.world
    await ctx.repeat(async () => {
      for (const service of [...apis, ...workers]) {
        const { end, tookMs } = await service.restart()
        ctx.check(`${service.name} ends with 0 (${end.signal ?? end.code})`, end.code === 0)
        ctx.check(
          `${service.name} ends within ${LONGEST_STOP_MS} ms (${tookMs} ms)`,
          tookMs <= LONGEST_STOP_MS,
        )
        await service.untilReady()
        await ctx.pause(100, 1 * SECOND)
      }
      await ctx.recover()
    })
  },
}

export const manyProcesses: Scenario = {
  name: 'two-apis-three-workers',
  promise: 'two receivers and three workers at once store everything once, and each of them does its share',
  backends: BACKENDS,
  seconds: 8,
  world: { apis: 2, workers: 3, postgresSettings: ROOM_FOR_FIVE },
  load: { rate: 20 },
  async run(ctx) {
    await ctx.repeat(() => ctx.pause(1 * SECOND))
    await proveEachWorker(ctx)
  },
}

/** Other workers would hide one that has stopped: each one works alone for a moment. */
export async function proveEachWorker(ctx: ScenarioContext): Promise<void> {
  const { workers } = ctx.world
  for (const worker of workers) {
    const others = workers.filter((other) => other !== worker)
    await Promise.all(others.map((other) => other.stop()))
    const from = performance.now()
    await ctx.pause(500)
    const until = performance.now()
    await ctx.until(`${worker.name} stores what comes in, alone`, 20 * SECOND, async () => {
      return performance.now() > from + SECOND && (await ctx.auditor.countMissing(until).catch(() => 1)) === 0
    })
    await Promise.all(others.map((other) => other.start()))
  }
}

export const frozenWorker: Scenario = {
  name: 'worker-frozen',
  promise: 'a worker whose event loop stands still until another has taken its jobs stores nothing twice',
  backends: BACKENDS,
  seconds: 8,
  world: { workers: 2 },
  limits: { recoveryMs: ABANDONED_JOBS_MS },
  async run(ctx) {
    await ctx.repeat(async () => {
      await ctx.pause(500, 1_500)
      await runJobsTwice(ctx)
      await ctx.recover()
    })
    await proveEachWorker(ctx)
  },
}

/** Freezes a worker that has reserved jobs until another one has reserved and completed them. */
async function runJobsTwice(ctx: ScenarioContext): Promise<void> {
  const { world, auditor } = ctx
  const frozen = pickWorker(ctx)
  const others = world.workers.filter((worker) => worker !== frozen)
  // Alone, so that it is the one that has the jobs.
  await Promise.all(others.map((other) => other.stop()))
  await ctx.until('the worker is caught with jobs', 20 * SECOND, async () => {
    frozen.freeze()
    const { active = 0 } = await auditor.queueCounts()
    if (active === 0) frozen.thaw()
    return active > 0
  })
  const frozenAt = performance.now()
  const before = await auditor.startedTwice()
  await Promise.all(others.map((other) => other.start()))
  await ctx.until('another worker takes and does the jobs', ABANDONED_JOBS_MS, async () => {
    return (await auditor.startedTwice()) > before && (await auditor.countMissing(frozenAt)) === 0
  })
  frozen.thaw()
}

function pickWorker({ world, random }: ScenarioContext): ServiceProcess {
  const worker = world.workers[random.integer(world.workers.length)]
  if (worker === undefined) throw new Error('this scenario needs workers')
  return worker
}

const WRONG_CLOCK = path.resolve(import.meta.dirname, '../world/wrong-clock.ts')

export const clockJump: Scenario = {
  name: 'clock-jump',
  promise: 'a process whose clock jumps by hours, forward and back, loses nothing and stops nothing',
  backends: BACKENDS,
  seconds: 8,
  world: { workers: 2, nodeArgs: ['--import', WRONG_CLOCK] },
  limits: { recoveryMs: ABANDONED_JOBS_MS },
  async run(ctx) {
    const { backend, apis, workers } = ctx.world
    await ctx.repeat(async () => {
      for (const service of [...apis, ...workers]) {
        await ctx.pause(1 * SECOND, 2 * SECOND)
        // See wrong-clock.ts: each signal is the next jump.
        process.kill(service.pid(), 'SIGUSR2')
        await ctx.recover()
      }
      // On PostgreSQL the locks of jobs are written with the worker's clock: see docs/guarantees.md.
      if (backend === 'redis') {
        pickWorker(ctx).kill()
        await ctx.recover()
      }
    })
    await proveEachWorker(ctx)
  },
}

export const processScenarios = [killApi, killWorker, deploy, manyProcesses, frozenWorker, clockJump]
