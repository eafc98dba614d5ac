/** Every scenario, in the order of a full run. */
import type { Scenario } from '../scenario.ts'
import { BACKENDS, type Backend } from '../world/world.ts'
import { deliveryScenarios } from './deliveries.ts'
import { postgresScenarios } from './postgres.ts'
import { powerScenarios } from './power.ts'
import { processScenarios } from './processes.ts'
import { redisScenarios } from './redis.ts'
import { redisDataLossScenarios } from './redis-data-loss.ts'
import { soakScenarios } from './soak.ts'
import { storeScenarios } from './stores.ts'
import { upgradeScenarios } from './upgrades.ts'

export const SCENARIOS: readonly Scenario[] = [
  ...processScenarios,
  ...redisScenarios,
  ...redisDataLossScenarios,
  ...postgresScenarios,
  ...storeScenarios,
  ...powerScenarios,
  ...deliveryScenarios,
  ...upgradeScenarios,
  ...soakScenarios,
]

/** What CI runs: quick ones, of every kind, each on these backends. */
export const SHORT: Readonly<Record<string, readonly Backend[]>> = {
  'kill-api': BACKENDS,
  'redis-kill': ['redis'],
  'status-race': ['postgres'],
}
