/** Webhooks beside the load while no store can confirm any: each must be refused, most of them at once. */
import { setTimeout as sleep } from 'node:timers/promises'
import { median } from '../../rig/statistics.ts'
import { createPoster } from '../../src/cli/simulate/post.ts'
import type { ScenarioContext } from '../scenario.ts'
import { APP_SECRET } from '../world/world.ts'

const POST_EVERY_MS = 250
/** Once the service knows that both stores are away, a webhook waits for none of them. */
const QUICK_MS = 250
const CONNECTIONS = 64

/** Status 0: no answer. */
export type TimedAnswer = { status: number; tookMs: number }

/**
 * Posts a webhook again and again for this long. It is one of the load's: if a store kept it although it was refused, the
 * later one is a duplicate. Returns when all are answered, so that the stores are away for the last one too.
 */
export async function postWhileAway(
  { world, stream }: ScenarioContext,
  forMs: number,
): Promise<TimedAnswer[]> {
  const poster = createPoster(new URL('/webhooks/meta', world.urls[0]), APP_SECRET, CONNECTIONS)
  const { body } = stream.webhook(0)
  const postTimed = async () => {
    const startedAt = performance.now()
    const answer = await poster.post(body)
    return { status: 'status' in answer ? answer.status : 0, tookMs: performance.now() - startedAt }
  }
  const answers: Promise<TimedAnswer>[] = []
  for (const end = performance.now() + forMs; performance.now() < end; await sleep(POST_EVERY_MS))
    answers.push(postTimed())
  const results = await Promise.all(answers)
  poster.close()
  return results
}

export function checkRefusals({ check, note }: ScenarioContext, answers: readonly TimedAnswer[]): void {
  const others = answers.filter(({ status }) => status !== 503)
  const times = answers.map(({ tookMs }) => tookMs)
  const medianMs = Math.round(median(times))
  check(`each is refused while nothing can confirm it (${others.length} were not)`, others.length === 0)
  check(`half of the refusals come within ${QUICK_MS} ms (${medianMs} ms)`, medianMs <= QUICK_MS)
  note(`median refusal ${medianMs} ms, slowest ${Math.round(Math.max(0, ...times))} ms`)
}
