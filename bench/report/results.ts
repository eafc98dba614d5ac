/** The results as they are written with --json: the medians of all rounds, one record for each contender and workload. */

import { median } from '../../rig/statistics.ts'
import type { ContenderName } from '../contenders.ts'
import { PARTS, type Part, totalCpu } from '../measure/resources.ts'
import type { Measurement } from '../measurement.ts'
import type { WorkloadName } from '../workloads.ts'

/** null: there is nothing of the kind (a contender that stores nothing), or it cannot be seen. */
export type Result = {
  contender: ContenderName
  workload: WorkloadName
  rounds: number
  /** While requests were sent; redeliveries are webhooks like any other. */
  webhooks_per_second: number
  /** Messages and statuses in those webhooks. */
  acknowledged_per_second: number
  /** Each message and status once, from the first request until the last was stored. */
  stored_per_second: number | null
  /** Of receiver, worker, Redis and PostgreSQL, for each message and status stored (acknowledged, where none is). */
  cpu_ms_per_message: number | null
  receiver_cpu_ms_per_message: number | null
  worker_cpu_ms_per_message: number | null
  redis_cpu_ms_per_message: number | null
  postgres_cpu_ms_per_message: number | null
  ack_p50_ms: number
  ack_p99_ms: number
  ack_max_ms: number
  acknowledged_seconds: number
  stored_seconds: number | null
  /** At half of direct's rate; workload single alone. */
  paced_per_second: number | null
  paced_ack_p50_ms: number | null
  paced_ack_p99_ms: number | null
  /** Resident memory: the most under load, and right after it. */
  receiver_mb: number | null
  receiver_end_mb: number | null
  worker_mb: number | null
  worker_end_mb: number | null
  loader_cpu_ms_per_webhook: number
  loader_busy_share: number
  /** Of all rounds together. */
  expected: number
  stored: number
  lost: number
  doubled: number
  refused: number
}

/** The names of those that are numbers. */
export type Figure = {
  [Key in keyof Result]: Result[Key] extends number | null ? Key : never
}[keyof Result]

/** In the order in which contenders and workloads first come. */
export function summarise(measurements: readonly Measurement[]): Result[] {
  const groups = Map.groupBy(measurements, ({ contender, workload }) => `${workload} ${contender}`)
  return [...groups.values()].map(summariseRounds)
}

function summariseRounds(rounds: readonly Measurement[]): Result {
  const first = rounds[0]!
  const mid = (value: (measurement: Measurement) => number | undefined) => medianOf(rounds.map(value))
  const sum = (value: (measurement: Measurement) => number) =>
    rounds.reduce((total, measurement) => total + value(measurement), 0)
  const partCpu = (part: Part) => mid((round) => perEvent(round.cpu[part], round))
  const stores = first.contender !== 'floor'
  return {
    contender: first.contender,
    workload: first.workload,
    rounds: rounds.length,
    webhooks_per_second: mid(({ webhooks, acknowledgedMs }) => (webhooks / acknowledgedMs) * 1_000) ?? 0,
    acknowledged_per_second: mid(({ events, acknowledgedMs }) => (events / acknowledgedMs) * 1_000) ?? 0,
    stored_per_second: stores ? mid(({ stored, storedMs }) => (stored / storedMs) * 1_000) : null,
    cpu_ms_per_message: mid((round) => perEvent(totalCpu(round.cpu), round)),
    receiver_cpu_ms_per_message: partCpu('receiver'),
    worker_cpu_ms_per_message: partCpu('worker'),
    redis_cpu_ms_per_message: partCpu('redis'),
    postgres_cpu_ms_per_message: partCpu('postgres'),
    ack_p50_ms: mid(({ ackP50Ms }) => ackP50Ms) ?? 0,
    ack_p99_ms: mid(({ ackP99Ms }) => ackP99Ms) ?? 0,
    ack_max_ms: mid(({ ackMaxMs }) => ackMaxMs) ?? 0,
    acknowledged_seconds: mid(({ acknowledgedMs }) => acknowledgedMs / 1_000) ?? 0,
    stored_seconds: stores ? mid(({ storedMs }) => storedMs / 1_000) : null,
    paced_per_second: mid(({ paced }) => paced?.perSecond),
    paced_ack_p50_ms: mid(({ paced }) => paced?.ackP50Ms),
    paced_ack_p99_ms: mid(({ paced }) => paced?.ackP99Ms),
    receiver_mb: mid(({ memory }) => memory.receiver?.loadMb),
    receiver_end_mb: mid(({ memory }) => memory.receiver?.endMb),
    worker_mb: mid(({ memory }) => memory.worker?.loadMb),
    worker_end_mb: mid(({ memory }) => memory.worker?.endMb),
    loader_cpu_ms_per_webhook: mid(({ loader, webhooks }) => loader.cpuMs / Math.max(1, webhooks)) ?? 0,
    loader_busy_share: mid(({ loader }) => loader.busyShare) ?? 0,
    expected: sum(({ expected }) => expected),
    stored: sum(({ stored }) => stored),
    lost: sum(({ expected, stored }) => expected - stored),
    doubled: sum(({ doubled }) => doubled),
    refused: sum(({ refused }) => refused),
  }
}

function perEvent(cpuMs: number | undefined, { stored }: Measurement): number | undefined {
  return cpuMs === undefined || stored === 0 ? undefined : cpuMs / stored
}

/** Rounded to what can be meant by it. null where no round has a value. */
function medianOf(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined && !Number.isNaN(value)) as number[]
  return known.length === 0 ? null : Number(median(known).toPrecision(4))
}

export function partsOf(result: Result): { part: Part; cpuMs: number }[] {
  return PARTS.flatMap((part) => {
    const cpuMs = result[`${part}_cpu_ms_per_message`]
    return cpuMs === null ? [] : [{ part, cpuMs }]
  })
}
