/** A run as Markdown, for docs/benchmarks.md: machine, versions and settings, then a table for each workload. */
import { workloadNamed } from '../workloads.ts'
import type { Machine } from './machine.ts'
import type { Result } from './results.ts'
import { number, ratio } from './results-table.ts'

const HEAD = [
  'contender',
  ...['webhooks/s', 'acknowledged/s', 'stored/s', '× direct', 'CPU ms per message', '× direct'],
  ...[
    'of it PostgreSQL',
    'ack p50 ms',
    'ack p99 ms',
    'paced p99 ms',
    'MB receiver, worker',
    'lost, doubled, refused',
  ],
]

export type MarkdownOptions = {
  results: readonly Result[]
  machine: Machine
  /** As it was typed. */
  command: string
  /** The day of the run. */
  date: Date
}

export function formatMarkdown({ results, machine, command, date }: MarkdownOptions): string {
  const workloads = [...new Set(results.map(({ workload }) => workload))]
  const sections = workloads.map((workload) => {
    const rows = results.filter((result) => result.workload === workload)
    return `### ${workload}: ${workloadNamed(workload).summary}\n\n${formatRows(rows)}`
  })
  return `${[describe(machine, command, date), ...sections].join('\n\n')}\n`
}

function describe(machine: Machine, command: string, date: Date): string {
  const packages = Object.entries(machine.packages).map(([name, version]) => `${name} ${version}`)
  const settings = Object.entries(machine.postgresql_settings).map(([name, value]) => `${name} ${value}`)
  return [
    `\`${command}\`, ${date.toISOString().slice(0, 10)}.`,
    `${machine.cores} cores (${machine.cpu}), ${machine.memory_gb} GB, ${machine.system}.`,
    `Node ${machine.node}, PostgreSQL ${machine.postgresql} (${settings.join(', ')}), Redis ${machine.redis} (appendfsync always),`,
    `${packages.join(', ')}.`,
  ].join('\n')
}

function formatRows(results: readonly Result[]): string {
  const direct = results.find(({ contender }) => contender === 'direct')
  const rows = results.map((result) => [
    result.contender,
    number(result.webhooks_per_second, 0),
    number(result.acknowledged_per_second, 0),
    number(result.stored_per_second, 0),
    ratio(result.stored_per_second, direct?.stored_per_second),
    number(result.cpu_ms_per_message, 3),
    ratio(result.cpu_ms_per_message, direct?.cpu_ms_per_message),
    number(result.postgres_cpu_ms_per_message, 3),
    number(result.ack_p50_ms, 1),
    number(result.ack_p99_ms, 1),
    number(result.paced_ack_p99_ms, 1),
    [result.receiver_mb, result.worker_mb].map((mb) => number(mb, 0)).join(', '),
    [result.lost, result.doubled, result.refused].join(', '),
  ])
  return [HEAD, HEAD.map((_, column) => (column === 0 ? '---' : '---:')), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}
