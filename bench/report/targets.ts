/** The targets of the service, as ratios between contenders of one run, and whether they are reached. */
import { formatTable } from '../../src/cli/table.ts'
import type { ContenderName } from '../contenders.ts'
import type { WorkloadName } from '../workloads.ts'
import type { Figure, Result } from './results.ts'

type Side = { contender: ContenderName; workload: WorkloadName; figure: Figure }

type Target = {
  measure: string
  of: Side
  /** Absent: the figure itself counts. */
  to?: Side
  atLeast?: number
  atMost?: number
}

const side = (contender: ContenderName, workload: WorkloadName, figure: Figure): Side => ({
  contender,
  workload,
  figure,
})
const storedBy = (contender: ContenderName, workload: WorkloadName = 'single') =>
  side(contender, workload, 'stored_per_second')

const TARGETS: readonly Target[] = [
  {
    measure: 'burst: acknowledged per second, redis to direct',
    of: side('redis', 'burst', 'acknowledged_per_second'),
    to: side('direct', 'burst', 'acknowledged_per_second'),
    atLeast: 2,
  },
  ...(
    [
      ['direct', 1.2],
      ['bullmq-noop', 0.85],
      ['bullmq-plain', 2],
      ['pg-boss', 2],
      ['graphile-worker', 2],
    ] as const
  ).map(([other, atLeast]) => ({
    measure: `single: stored per second, redis to ${other}`,
    of: storedBy('redis'),
    to: storedBy(other),
    atLeast,
  })),
  {
    measure: 'batch10: stored per second, redis to direct',
    of: storedBy('redis', 'batch10'),
    to: storedBy('direct', 'batch10'),
    atLeast: 1.2,
  },
  {
    measure: 'single: CPU per stored message, redis to direct',
    of: side('redis', 'single', 'cpu_ms_per_message'),
    to: side('direct', 'single', 'cpu_ms_per_message'),
    atMost: 0.9,
  },
  {
    measure: 'single: CPU of PostgreSQL per stored message, redis to direct',
    of: side('redis', 'single', 'postgres_cpu_ms_per_message'),
    to: side('direct', 'single', 'postgres_cpu_ms_per_message'),
    atMost: 0.2,
  },
  {
    measure: "p99 acknowledgement at half of direct's rate, redis to direct",
    of: side('redis', 'single', 'paced_ack_p99_ms'),
    to: side('direct', 'single', 'paced_ack_p99_ms'),
    atMost: 1,
  },
  {
    measure: 'the same during stall, redis to redis without it',
    of: side('redis', 'stall', 'ack_p99_ms'),
    to: side('redis', 'single', 'paced_ack_p99_ms'),
    atMost: 1.25,
  },
  {
    measure: 'stall: refused by redis',
    of: side('redis', 'stall', 'refused'),
    atMost: 0,
  },
  ...(['pg-boss', 'graphile-worker'] as const).map((other) => ({
    measure: `single: stored per second, postgres to ${other}`,
    of: storedBy('postgres'),
    to: storedBy(other),
    atLeast: 1,
  })),
  {
    measure: 'webhooks per second, redis, redelivery50 to single',
    of: side('redis', 'redelivery50', 'webhooks_per_second'),
    to: side('redis', 'single', 'webhooks_per_second'),
    atLeast: 1.5,
  },
  {
    measure: 'stored per second, redis, large-table to single',
    of: storedBy('redis', 'large-table'),
    to: storedBy('redis'),
    atLeast: 0.9,
  },
  {
    measure: 'single: MB of the receiver, redis',
    of: side('redis', 'single', 'receiver_mb'),
    atMost: 150,
  },
  { measure: 'single: MB of the worker, redis', of: side('redis', 'single', 'worker_mb'), atMost: 150 },
]

/** Those of which both sides were measured; an empty text where there are none. */
export function formatTargets(results: readonly Result[]): string {
  const rows = TARGETS.flatMap((target) => {
    const value = measuredOf(target, results)
    return value === undefined
      ? []
      : [[target.measure, goalOf(target), value.toFixed(2), verdictOf(target, value)]]
  })
  return rows.length === 0 ? '' : formatTable([['target', 'goal', 'measured', ''], ...rows])
}

function measuredOf({ of, to }: Target, results: readonly Result[]): number | undefined {
  const value = figureOf(of, results)
  if (to === undefined || value === undefined) return value
  const base = figureOf(to, results)
  return base === undefined || base === 0 ? undefined : value / base
}

function figureOf({ contender, workload, figure }: Side, results: readonly Result[]): number | undefined {
  const result = results.find(
    (candidate) => candidate.contender === contender && candidate.workload === workload,
  )
  return result?.[figure] ?? undefined
}

function goalOf({ atLeast, atMost }: Target): string {
  return atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`
}

function verdictOf({ atLeast, atMost }: Target, value: number): string {
  return value >= (atLeast ?? value) && value <= (atMost ?? value) ? 'reached' : 'missed'
}
