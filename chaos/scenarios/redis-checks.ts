/** What scenarios with Redis have in common. */
import { readReadiness } from '../readiness.ts'
import type { ScenarioContext } from '../scenario.ts'
import type { RedisStore } from '../world/redis-store.ts'

export function redisOf({ world }: ScenarioContext): RedisStore {
  if (world.redis === undefined) throw new Error('this scenario needs Redis')
  return world.redis
}

/** PostgreSQL was there all the time. On a busy machine it may miss its deadline of 2 s all the same. */
export function intakeGoesOn({ ledger, patience, check, note }: ScenarioContext): void {
  const refused = ledger.requests().answers['503'] ?? 0
  if (patience > 1) note(`${refused} webhooks were refused`)
  else check(`no webhook is refused while PostgreSQL is there (${refused} were)`, refused === 0)
}

/** The receiver is ready, and both its readiness and the log of its start name each finding. */
export async function reports(ctx: ScenarioContext, ...findings: RegExp[]): Promise<void> {
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
