/** Every scenario, in the order of a full run. */
import type { Scenario } from '../scenario.ts'
import { deliveryScenarios } from './deliveries.ts'
import { postgresScenarios } from './postgres.ts'
import { powerScenarios } from './power.ts'
import { processScenarios } from './processes.ts'
import { redisScenarios } from './redis.ts'
import { soakScenarios } from './soak.ts'
import { storeScenarios } from './stores.ts'
import { upgradeScenarios } from './upgrades.ts'

export const SCENARIOS: readonly Scenario[] = [
  ...processScenarios,
  ...redisScenarios,
  ...postgresScenarios,
  ...storeScenarios,
  ...powerScenarios,
  ...deliveryScenarios,
  ...upgradeScenarios,
  ...soakScenarios,
]

/** What CI runs: quick ones, of every kind. */
export const SHORT: readonly string[] = ['kill-api', 'redis-kill', 'status-race']
