/** What a run of the benchmark is made of, as asked for on the command line. */
import type { ContenderName } from './contenders.ts'
import type { WorkloadName } from './workloads.ts'

export type Settings = {
  /** Only whether everything works: not every contender takes every workload, and the numbers mean nothing. */
  isQuick: boolean
  contenders: readonly ContenderName[]
  workloads: readonly WorkloadName[]
  rounds: number
  /** How long requests are sent. */
  seconds: number
  /** So many messages instead. */
  messages: number | undefined
  warmUpMessages: number
  burstMessages: number
  /** Before PostgreSQL is stopped, while it is, and afterwards. */
  stallSeconds: readonly [before: number, stopped: number, after: number]
  largeRows: number
  /** Webhooks per second of what is paced; undefined: half of what direct stores in the first round. */
  rate: number | undefined
  env: Record<string, string>
  databaseUrl: string | undefined
  dataDir: string
  profileDir: string | undefined
}
