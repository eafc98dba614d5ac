/** The settings of a run of the benchmark, from its command line. */
import type { ContenderName } from './contenders.ts'
import type { WorkloadName } from './workloads.ts'

export type Settings = {
  /** Shows only whether everything works: not every contender runs every workload, and the numbers mean nothing. */
  isQuick: boolean
  contenders: readonly ContenderName[]
  workloads: readonly WorkloadName[]
  rounds: number
  /** How long requests are sent. */
  seconds: number
  /** Sends this many messages instead. */
  messages: number | undefined
  warmUpMessages: number
  burstMessages: number
  /** Before PostgreSQL is stopped, while it is, and afterwards. */
  stallSeconds: readonly [before: number, stopped: number, after: number]
  largeRows: number
  /** Webhooks per second where they are paced; undefined: half of direct's rate in the first round. */
  rate: number | undefined
  env: Record<string, string>
  databaseUrl: string | undefined
  dataDir: string
  profileDir: string | undefined
}
