/** A run as Markdown, for docs/benchmarks.md: machine, versions and settings, then a table for each workload. */
import { formatCommand, formatMarkdownTable, type MarkdownColumn } from '../../rig/markdown.ts'
import { workloadNamed } from '../workloads.ts'
import type { Machine } from './machine.ts'
import type { Result } from './results.ts'
import { figure, number, ratioToDirect } from './results-table.ts'

export type MarkdownOptions = {
  results: readonly Result[]
  machine: Machine
  /** As it was typed. */
  command: string
  /** The day of the run. */
  date: Date
}

export function formatMarkdown({ results, machine, command, date }: MarkdownOptions): string {
  const workloads = Map.groupBy(results, ({ workload }) => workload)
  const sections = [...workloads].map(
    ([workload, rows]) =>
      `### ${workload}: ${workloadNamed(workload).summary}\n\n${formatMarkdownTable(columnsOf(rows), rows)}`,
  )
  return `${[describe(machine, command, date), ...sections].join('\n\n')}\n`
}

function describe(machine: Machine, command: string, date: Date): string {
  const packages = Object.entries(machine.packages).map(([name, version]) => `${name} ${version}`)
  const settings = Object.entries(machine.postgresql_settings).map(([name, value]) => `${name} ${value}`)
  return [
    `${formatCommand(command, date)}.`,
    `${machine.cores} cores (${machine.cpu}), ${machine.memory_gb} GB, ${machine.system}.`,
    `Node ${machine.node}, PostgreSQL ${machine.postgresql} (${settings.join(', ')}), Redis ${machine.redis} (appendfsync always),`,
    `${packages.join(', ')}.`,
  ].join('\n')
}

function columnsOf(results: readonly Result[]): MarkdownColumn<Result>[] {
  return [
    { title: 'contender', isText: true, cell: ({ contender }) => contender },
    figure('webhooks/s', 'webhooks_per_second', 0),
    figure('acknowledged/s', 'acknowledged_per_second', 0),
    figure('stored/s', 'stored_per_second', 0),
    ratioToDirect('stored_per_second', results),
    figure('CPU ms per message', 'cpu_ms_per_message', 3),
    ratioToDirect('cpu_ms_per_message', results),
    figure('of it PostgreSQL', 'postgres_cpu_ms_per_message', 3),
    figure('ack p50 ms', 'ack_p50_ms', 1),
    figure('ack p99 ms', 'ack_p99_ms', 1),
    figure('paced p99 ms', 'paced_ack_p99_ms', 1),
    {
      title: 'MB receiver, worker',
      cell: ({ receiver_mb, worker_mb }) => [receiver_mb, worker_mb].map((mb) => number(mb, 0)).join(', '),
    },
    {
      title: 'lost, doubled, refused',
      cell: ({ lost, doubled, refused }) => [lost, doubled, refused].join(', '),
    },
  ]
}
