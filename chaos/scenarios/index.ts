/** Every scenario, in the order of a full run. */
import type { Scenario } from '../scenario.ts'
import { processScenarios } from './processes.ts'

export const SCENARIOS: readonly Scenario[] = [...processScenarios]

/** What CI runs: quick ones, of every kind. */
export const SHORT: readonly string[] = ['kill-api']
