/**
 * A scenario: a promise, a world, a load, and a schedule of faults. Outages of stores stand in outages/table.ts, all other
 * scenarios in scenarios/.
 */
import type { Random } from '../src/cli/simulate/random.ts'
import type { ReleaseStack } from '../src/lifecycle/release-stack.ts'
import type { Auditor } from './audit/auditor.ts'
import type { Ledger } from './load/ledger.ts'
import type { Load } from './load/load.ts'
import type { Stream, StreamOptions } from './load/stream.ts'
import type { Backend, World, WorldOptions } from './world/world.ts'

export type Scenario = {
  /** As in `--only`. */
  name: string
  /** The promise during the scenario and afterwards, in one sentence. */
  promise: string
  backends: readonly Backend[]
  world?: WorldOptions
  /** Webhooks a second, and their content. */
  load?: { rate?: number } & Partial<Omit<StreamOptions, 'seed' | 'run'>>
  /** How long the load lasts unless --minutes says otherwise. The last cycle is finished. */
  seconds: number
  limits?: Partial<Limits>
  /** Why it cannot run on this machine; undefined: it can. */
  unavailable?: () => string | undefined
  /** The schedule of faults. The load goes on meanwhile, and a little longer. */
  run(ctx: ScenarioContext): Promise<void>
}

export type Limits = {
  /** From a store's return until webhooks take the normal way and the backlog is stored. */
  recoveryMs: number
  /** Longest time to any answer. Longer than it takes to try both stores. */
  answerMs: number
  /** The fault takes something in every play; where it took nothing it did not happen. */
  losesSome: boolean
  /** Resident memory of each process of the service. */
  rssBytes: number
  /** Of the memory of a process that was never started again, in runs that are long enough to tell; see growthOf. */
  growth: number
}

export const DEFAULT_LIMITS: Limits = {
  recoveryMs: 10_000,
  answerMs: 5_000,
  losesSome: false,
  rssBytes: 512 * 1024 * 1024,
  growth: 1.25,
}

export type ScenarioContext = {
  world: World
  load: Load
  /** Webhooks a second when the scenario begins. */
  rate: number
  stream: Stream
  ledger: Ledger
  auditor: Auditor
  /** Time limits are multiplied by it. More than 1 where other work runs on the same machine. */
  patience: number
  /** Decides the moments of the faults; repeated by the seed. */
  random: Random
  signal: AbortSignal
  releases: ReleaseStack
  /** Runs the cycle again and again until the time under load is over; once at least. */
  repeat(cycle: () => Promise<void>): Promise<void>
  /** Waits for a time between the two, in milliseconds. */
  pause(fromMs: number, toMs?: number): Promise<void>
  /** Waits until the condition holds; a claim that is broken if it does not in time. */
  until(claim: string, timeoutMs: number, condition: () => Promise<boolean> | boolean): Promise<void>
  /** Measures how long the service needs from this moment, at which a store or process is back. */
  recover(): Promise<void>
  /** A claim that the auditor does not check. The promise is broken when it does not hold. */
  check(claim: string, holds: boolean): void
  /** A line for the report. */
  note(text: string): void
}
