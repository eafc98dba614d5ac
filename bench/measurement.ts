/** What one run of one contender on one workload gave. */
import type { ContenderName } from './contenders.ts'
import type { CpuTimes, Memory } from './measure/resources.ts'
import type { WorkloadName } from './workloads.ts'

export type Measurement = {
  contender: ContenderName
  workload: WorkloadName
  /** Webhooks answered with 200, redeliveries included. */
  webhooks: number
  /** Webhooks answered in another way or not at all, and how the first of them was. */
  refused: number
  firstRefusal: string | undefined
  /** Events in the acknowledged webhooks, redeliveries included. */
  events: number
  /** The same events, each once; all of them must be stored. */
  expected: number
  stored: number
  /** Stored more than once. */
  doubled: number
  /** From the first request to the last answer, and until everything was stored. */
  acknowledgedMs: number
  storedMs: number
  ackP50Ms: number
  ackP99Ms: number
  ackMaxMs: number
  /** From the first request until everything was stored. */
  cpu: CpuTimes
  memory: { receiver: Memory | undefined; worker: Memory | undefined }
  loader: { cpuMs: number; busyShare: number }
  /** Afterwards, at a fixed rate that is the same for all. */
  paced: Paced | undefined
}

export type Paced = { perSecond: number; ackP50Ms: number; ackP99Ms: number; refused: number }
