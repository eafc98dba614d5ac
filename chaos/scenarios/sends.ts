/** Messages that the service sends, beside the load that it receives. */
import type { Scenario, ScenarioContext } from '../scenario.ts'
import { API_TOKEN, BACKENDS } from '../world/world.ts'

const SECOND = 1_000
const WORKERS = 2
/** Messages for the provider that hangs. */
const WAITING = 30
/** Calls under way in one worker before a number's first answer, as src/core/send-policy.ts says. */
const FIRST_CALLS = 5
/** A call is given up after 15 s; three in doubt in a row open the breaker. */
const BREAKER_MS = 40 * SECOND

const providerHangs: Scenario = {
  name: 'provider-hangs',
  promise:
    'Twilio takes calls and does not answer: Meta’s messages go out meanwhile, few of Twilio’s become unknown, the others wait, and none is sent twice',
  backends: BACKENDS,
  seconds: 6,
  world: { workers: WORKERS, sends: true },
  async run(ctx) {
    await ctx.repeat(async () => {
      const { meta, twilio } = providersOf(ctx)
      await ctx.pause(1 * SECOND, 2 * SECOND)
      twilio.hang()
      for (let number = 0; number < WAITING; number++) await order(ctx, 'twilio', number)
      let ordered = 0
      await ctx.until('Twilio’s circuit breaker opens', BREAKER_MS, async () => {
        await order(ctx, 'meta', ordered++)
        await ctx.until('Meta’s message is accepted', 5 * SECOND, async () => {
          return (await countSends(ctx, 'meta')).accepted === ordered
        })
        return (await countBreakers(ctx)) > 0
      })
      await ctx.until('no call is under way', BREAKER_MS, async () => {
        return (await countSends(ctx, 'twilio')).sending === undefined
      })
      const { unknown = 0 } = await countSends(ctx, 'twilio')
      ctx.check(`few messages are in doubt (${unknown})`, unknown > 0 && unknown <= WORKERS * FIRST_CALLS)
      twilio.answer()
      await ctx.until('the others are sent', 60 * SECOND, async () => {
        const { accepted = 0, unknown = 0 } = await countSends(ctx, 'twilio')
        return accepted > 0 && accepted + unknown === WAITING
      })
      const calls = [...meta.bodies, ...twilio.bodies]
      ctx.check('no message was sent twice', new Set(calls.map(textOf)).size === calls.length)
      ctx.note(`${ordered} messages were sent beside a provider that hung, ${unknown} were in doubt`)
      await removeSends(ctx)
    })
  },
}

export const sendScenarios = [providerHangs]

function providersOf({ world }: ScenarioContext) {
  if (world.providers === undefined) throw new Error('the scenario needs `sends` in its world')
  return world.providers
}

let texts = 0

async function order(ctx: ScenarioContext, provider: string, number: number): Promise<void> {
  const to = `+1555999${1_000 + number}`
  const response = await fetch(`${ctx.world.urls[0]}/api/messages`, {
    method: 'POST',
    headers: { authorization: `Bearer ${API_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ provider, to, type: 'text', text: `sent-${++texts}.` }),
    signal: ctx.signal,
  })
  await response.body?.cancel()
  ctx.check(`POST /api/messages answers 201 (${response.status})`, response.status === 201)
}

function textOf(call: string): string | undefined {
  return /sent-\d+\./.exec(call)?.[0]
}

async function countSends({ world }: ScenarioContext, provider: string) {
  const rows = await world.postgres.query<{ status: string; count: number }>(
    `SELECT status, count(*)::integer AS count FROM chat_messages
     WHERE source = 'api' AND provider = '${provider}' GROUP BY status`,
  )
  const counts: Record<string, number> = Object.fromEntries(rows.map(({ status, count }) => [status, count]))
  return counts
}

async function countBreakers({ world }: ScenarioContext): Promise<number> {
  return (await world.postgres.query(`SELECT FROM send_pauses WHERE provider = 'twilio'`)).length
}

/** The auditor knows nothing of them. */
async function removeSends({ world }: ScenarioContext): Promise<void> {
  await world.postgres.query(`DELETE FROM chat_messages WHERE source = 'api'`)
  for (const { bodies } of Object.values(world.providers ?? {})) bodies.length = 0
}
