/** The result of a scenario: a row for people, an object for programs. */
import { formatCount, formatDuration } from '../../src/cli/progress.ts'
import { createTally, type RequestTotals } from '../../src/cli/simulate/tally.ts'
import type { Audit } from '../audit/auditor.ts'
import { judge } from '../audit/verdict.ts'
import { createLedger } from '../load/ledger.ts'
import type { MemoryReport } from '../memory.ts'
import type { Scenario } from '../scenario.ts'
import type { Backend } from '../world/world.ts'

export type ScenarioReport = {
  name: string
  backend: Backend
  seed: number
  promise: string
  ok: boolean
  /** Events. */
  sent: number
  acknowledged: number
  stored: number
  stored_unacknowledged: number
  doubled: number
  lost: number
  /** Requests. */
  requests: number
  redelivered: number
  retried: number
  answers: Record<string, number>
  longest_ack_ms: number
  longest_answer_ms: number
  /** The longest; null where the scenario takes nothing away. */
  recovery_ms: number | null
  recoveries_ms: number[]
  restarts: number
  peak_rss_mb: Record<string, number>
  duration_ms: number
  breaches: string[]
  notes: string[]
  memory: { at_ms: number; mb: Record<string, number> }[]
}

export type ReportParts = {
  scenario: Scenario
  backend: Backend
  seed: number
  audit: Audit
  requests: RequestTotals
  breaches: readonly string[]
  notes: readonly string[]
  recoveries: readonly number[]
  restarts: number
  usage: MemoryReport
  durationMs: number
}

export function createReport(parts: ReportParts): ScenarioReport {
  const { scenario, audit, requests, breaches, recoveries, usage } = parts
  return {
    name: scenario.name,
    backend: parts.backend,
    seed: parts.seed,
    promise: scenario.promise,
    ok: breaches.length === 0,
    sent: audit.sent,
    acknowledged: audit.acknowledged,
    stored: audit.stored,
    stored_unacknowledged: audit.storedUnacknowledged,
    doubled: audit.doubled,
    lost: audit.lost,
    requests: requests.sent,
    redelivered: requests.redelivered,
    retried: requests.retried,
    answers: requests.answers,
    longest_ack_ms: Math.round(requests.longestAckMs),
    longest_answer_ms: Math.round(requests.longestAnswerMs),
    recovery_ms: recoveries.length === 0 ? null : Math.max(...recoveries),
    recoveries_ms: [...recoveries],
    restarts: parts.restarts,
    peak_rss_mb: megabytes(usage.peakBytes),
    duration_ms: Math.round(parts.durationMs),
    breaches: [...breaches],
    notes: [...parts.notes],
    memory: usage.samples.map(({ atMs, bytes }) => ({ at_ms: atMs, mb: megabytes(bytes) })),
  }
}

/** For a scenario whose world could not be made. */
export function createUnplayedReport(
  { scenario, backend, seed }: Pick<ReportParts, 'scenario' | 'backend' | 'seed'>,
  err: unknown,
): ScenarioReport {
  const rows = { messages: [], statuses: [], events: [], misannounced: [], quarantined: 0, counted: 0 }
  return createReport({
    ...{ scenario, backend, seed },
    requests: createTally().totals(),
    audit: { ...judge(createLedger(), rows), unfinishedJobs: {} },
    breaches: [`could not be played: ${err instanceof Error ? err.message : String(err)}`],
    ...{ notes: [], recoveries: [], restarts: 0, durationMs: 0 },
    usage: { peakBytes: {}, samples: [] },
  })
}

const COLUMNS = [
  ['scenario', 26],
  ['backend', 9],
  ['sent', 7],
  ['acknowledged', 13],
  ['redelivered', 12],
  ['stored', 7],
  ['doubled', 8],
  ['lost', 6],
  ['longest ack', 12],
  ['recovery', 9],
  ['seed', 5],
  ['took', 8],
] as const

export function formatHeader(): string {
  return formatCells(COLUMNS.map(([title]) => title))
}

export function formatReport(report: ScenarioReport): string {
  const { name, backend, sent, acknowledged, redelivered, retried, stored, doubled, lost } = report
  const counts = [sent, acknowledged, redelivered + retried, stored, doubled, lost].map(formatCount)
  const recovery = report.recovery_ms === null ? '–' : formatDuration(report.recovery_ms)
  const figures = [...counts, formatDuration(report.longest_ack_ms), recovery]
  const row = formatCells([
    ...[name, backend, ...figures],
    ...[String(report.seed), formatDuration(report.duration_ms)],
  ])
  const remarks = [
    ...report.breaches.map((breach) => `  BROKEN: ${breach}`),
    ...report.notes.map((note) => `  ${note}`),
  ]
  return [`${row}  ${report.ok ? 'ok' : 'BROKEN'}`, ...remarks].join('\n')
}

function formatCells(cells: readonly string[]): string {
  return cells
    .map((cell, index) => {
      const width = COLUMNS[index]?.[1] ?? 0
      return index < 2 ? cell.padEnd(width) : cell.padStart(width)
    })
    .join(' ')
}

function megabytes(bytes: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(bytes).map(([name, value]) => [name, Math.round((value / 2 ** 20) * 10) / 10]),
  )
}
