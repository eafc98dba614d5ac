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

/** One figure of two contenders in the same workload. */
function compare(
  measure: string,
  [contender, other]: readonly [ContenderName, ContenderName],
  workload: WorkloadName,
  figure: Figure,
  goal: Pick<Target, 'atLeast' | 'atMost'>,
): Target {
  const name = `${measure}, ${contender} to ${other}`
  return { measure: name, of: side(contender, workload, figure), to: side(other, workload, figure), ...goal }
}

const CPU = 'cpu_ms_per_message'
const STORED = 'stored_per_second'
const ACKNOWLEDGED = 'acknowledged_per_second'
const PACED_P99 = 'paced_ack_p99_ms'

const TARGETS: readonly Target[] = [
  compare('burst: acknowledged per second', ['redis', 'direct'], 'burst', ACKNOWLEDGED, { atLeast: 2 }),
  ...(
    [
      ['direct', 1.2],
      ['bullmq-noop', 0.85],
      ['bullmq-plain', 2],
      ['pg-boss', 2],
      ['graphile-worker', 2],
    ] as const
  ).map(([other, atLeast]) =>
    compare('single: stored per second', ['redis', other], 'single', STORED, { atLeast }),
  ),
  compare('batch10: stored per second', ['redis', 'direct'], 'batch10', STORED, { atLeast: 1.2 }),
  compare('single: CPU per stored message', ['redis', 'direct'], 'single', CPU, { atMost: 0.9 }),
  compare('single: CPU of PostgreSQL per stored message', ['redis', 'direct'], 'single', `postgres_${CPU}`, {
    atMost: 0.2,
  }),
  compare("p99 acknowledgement at half of direct's rate", ['redis', 'direct'], 'single', PACED_P99, {
    atMost: 1,
  }),
  {
    measure: 'the same during stall, redis to redis without it',
    of: side('redis', 'stall', 'ack_p99_ms'),
    to: side('redis', 'single', PACED_P99),
    atMost: 1.25,
  },
  { measure: 'stall: refused by redis', of: side('redis', 'stall', 'refused'), atMost: 0 },
  ...(['pg-boss', 'graphile-worker'] as const).map((other) =>
    compare('single: stored per second', ['postgres', other], 'single', STORED, { atLeast: 1 }),
  ),
  {
    measure: 'webhooks per second, redis, redelivery50 to single',
    of: side('redis', 'redelivery50', 'webhooks_per_second'),
    to: side('redis', 'single', 'webhooks_per_second'),
    atLeast: 1.5,
  },
  {
    measure: 'stored per second, redis, large-table to single',
    of: side('redis', 'large-table', STORED),
    to: side('redis', 'single', STORED),
    atLeast: 0.9,
  },
  ...(['receiver', 'worker'] as const).map((part) => ({
    measure: `single: MB of the ${part}, redis`,
    of: side('redis', 'single', `${part}_mb`),
    atMost: 150,
  })),
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
