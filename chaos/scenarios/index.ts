/** Every scenario, in the order of a full run. */
import { OUTAGES } from '../outages/table.ts'
import type { Scenario } from '../scenario.ts'
import type { Backend } from '../world/world.ts'
import { deliveryScenarios } from './deliveries.ts'
import { lostCommitsScenarios } from './lost-commits.ts'
import { mergeScenarios } from './merges.ts'
import { processScenarios } from './processes.ts'
import { refusedRowScenarios } from './refused-rows.ts'
import { sendScenarios } from './sends.ts'
import { soakScenarios } from './soak.ts'
import { upgradeScenarios } from './upgrades.ts'

export const SCENARIOS: readonly Scenario[] = [
  ...processScenarios,
  ...OUTAGES,
  ...lostCommitsScenarios,
  ...mergeScenarios,
  ...deliveryScenarios,
  ...refusedRowScenarios,
  ...sendScenarios,
  ...upgradeScenarios,
  ...soakScenarios,
]

/** What CI runs: quick ones, of every kind, each on these backends. */
export const SHORT: Readonly<Record<string, readonly Backend[]>> = {
  'kill-api': ['postgres'],
  'redis-kill': ['redis'],
  'status-race': ['postgres'],
}
