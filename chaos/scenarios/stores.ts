/** Everything that an event could be kept in is away. */
import { createPoster } from '../../src/cli/simulate/post.ts'
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { APP_SECRET, BACKENDS } from '../world/world.ts'

const SECOND = 1_000
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

export const storeScenarios = [storesFrozen, storesRefusing]

type Outage = Record<'away' | 'back', (ctx: ScenarioContext) => Promise<void>>

async function takeAway(ctx: ScenarioContext, { away, back }: Outage): Promise<void> {
  await ctx.repeat(async () => {
    await ctx.pause(1 * SECOND, 2 * SECOND)
    const acknowledgedBefore = ctx.ledger.acknowledged()
    await away(ctx)
    const answers = await probe(ctx)
    await back(ctx)
    await ctx.recover()
    const refusals = answers.filter(({ status }) => status === 503)
    const median = refusals.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b)[refusals.length >> 1] ?? 0
    ctx.check('webhooks are refused while nothing can confirm them', refusals.length > 0)
    ctx.check(
      `half of the refusals come within ${QUICK_MS} ms (${Math.round(median)} ms)`,
      median <= QUICK_MS,
    )
    ctx.note(`median refusal ${Math.round(median)} ms, slowest ${Math.round(slowest(refusals))} ms`)
    ctx.check('webhooks are acknowledged afterwards', ctx.ledger.acknowledged() > acknowledgedBefore)
  })
}

type Probe = { status: number; tookMs: number }

function slowest(probes: readonly Probe[]): number {
  return Math.max(0, ...probes.map(({ tookMs }) => tookMs))
}

/** One webhook after the other beside the load, for as long as the stores are away. Each has no event of the ledger. */
async function probe(ctx: ScenarioContext): Promise<Probe[]> {
  const poster = createPoster(new URL('/webhooks/meta', ctx.world.urls[0]), APP_SECRET, 64)
  const probes: Promise<Probe>[] = []
  const end = performance.now() + AWAY_MS
  const webhook = ctx.stream.webhook(0)
  while (performance.now() < end) {
    probes.push(timed(() => poster.post(webhook.body)))
    await ctx.pause(PROBE_EVERY_MS)
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
