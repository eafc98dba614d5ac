/** Everything that an event could be kept in is away. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createPoster } from '../../src/cli/simulate/post.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { APP_SECRET, BACKENDS } from '../world/world.ts'

const SECOND = 1_000
const MEGABYTE = 2 ** 20
const AWAY_MS = 10 * SECOND
const PROBE_EVERY_MS = 250
/** Once both circuits are open, a webhook waits for nothing. */
const QUICK_MS = 250

export const storesFrozen: Scenario = {
  name: 'stores-frozen',
  promise: 'no store answers for 10 s: 503 in bounded time, mostly at once, in bounded memory',
  backends: BACKENDS,
  seconds: 10,
  load: { rate: 20 },
  run: (ctx) =>
    takeAway(ctx, {
      away: async ({ world }) => {
        world.postgres.freeze()
        world.redis?.freeze()
      },
      back: async ({ world }) => {
        world.postgres.thaw()
        world.redis?.thaw()
      },
    }),
}

export const storesRefusing: Scenario = {
  name: 'stores-refusing',
  promise: 'no store takes connections for 10 s: 503 at once, in bounded memory',
  backends: BACKENDS,
  seconds: 10,
  load: { rate: 20 },
  run: (ctx) =>
    takeAway(ctx, {
      away: async ({ world }) => {
        await Promise.all([world.postgresRelay.takeDown(), world.redisRelay?.takeDown()])
      },
      back: async ({ world }) => {
        await Promise.all([world.postgresRelay.bringUp(), world.redisRelay?.bringUp()])
      },
    }),
}

export const storesFrozenUnderBurst: Scenario = {
  name: 'stores-frozen-under-burst',
  promise:
    'no store answers while five times as much comes in: 503 in bounded time, memory does not grow with it',
  backends: BACKENDS,
  seconds: 10,
  load: { rate: 12 },
  limits: { rssBytes: 320 * MEGABYTE },
  run: (ctx) =>
    takeAway(ctx, {
      away: async ({ world, load }) => {
        load.setRate(60)
        world.postgres.freeze()
        world.redis?.freeze()
      },
      back: async ({ world, load }) => {
        load.setRate(12)
        world.postgres.thaw()
        world.redis?.thaw()
      },
    }),
}

export const storeScenarios = [storesFrozen, storesRefusing, storesFrozenUnderBurst]

type Outage = Record<'away' | 'back', (ctx: ScenarioContext) => Promise<void>>

async function takeAway(ctx: ScenarioContext, { away, back }: Outage): Promise<void> {
  await ctx.repeat(async () => {
    await ctx.pause(1 * SECOND, 2 * SECOND)
    const acknowledgedBefore = ctx.ledger.acknowledged()
    await away(ctx)
    const answers = await probe(ctx)
    await back(ctx)
    await ctx.recover()
    const others = answers.filter(({ status }) => status !== 503)
    const median = answers.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b)[answers.length >> 1] ?? 0
    ctx.check(`each is refused while nothing can confirm it (${others.length} were not)`, others.length === 0)
    ctx.check(
      `half of the refusals come within ${QUICK_MS} ms (${Math.round(median)} ms)`,
      median <= QUICK_MS,
    )
    ctx.note(`median refusal ${Math.round(median)} ms, slowest ${Math.round(slowest(answers))} ms`)
    await ctx.until('webhooks are acknowledged afterwards', 10 * SECOND, () => {
      return ctx.ledger.acknowledged() > acknowledgedBefore
    })
  })
}

type Probe = { status: number; tookMs: number }

function slowest(probes: readonly Probe[]): number {
  return Math.max(0, ...probes.map(({ tookMs }) => tookMs))
}

/**
 * One webhook after the other beside the load, for as long as the stores are away. It is one of the load's: what a store
 * took of it although it was refused is a duplicate.
 */
async function probe(ctx: ScenarioContext): Promise<Probe[]> {
  const poster = createPoster(new URL('/webhooks/meta', ctx.world.urls[0]), APP_SECRET, 64)
  const probes: Promise<Probe>[] = []
  const end = performance.now() + AWAY_MS
  const webhook = ctx.stream.webhook(0)
  while (performance.now() < end) {
    probes.push(timed(() => poster.post(webhook.body)))
    await sleep(PROBE_EVERY_MS)
  }
  // Those under way are still answered while the stores are away: back only when they are.
  const results = await Promise.all(probes)
  poster.close()
  return results
}

async function timed(post: () => Promise<{ status: number } | { error: string }>): Promise<Probe> {
  const startedAt = performance.now()
  const answer = await post()
  return { status: 'status' in answer ? answer.status : 0, tookMs: performance.now() - startedAt }
}
