import { readReadiness } from '../readiness.ts'
import type { ScenarioContext } from '../scenario.ts'

/** Checks that each receiver is ready, and that its readiness and the log of its start name each finding. */
export async function checkReported(
  { world, check }: ScenarioContext,
  findings: readonly RegExp[],
): Promise<void> {
  for (const url of world.urls) {
    const { status, text } = await readReadiness(url)
    check(`the receiver is ready all the same (${status})`, status === 200)
    for (const finding of findings) check(`readiness says ${finding.source}`, finding.test(text))
  }
  for (const finding of findings) {
    const isLogged = world.apis.every((api) => finding.test(api.output()))
    check(`the log of the start says ${finding.source}`, isLogged)
  }
}
