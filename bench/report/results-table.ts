/** The results for a terminal: a table for each workload. */
import type { MarkdownColumn } from '../../rig/markdown.ts'
import { formatTable } from '../../src/cli/table.ts'
import { workloadNamed } from '../workloads.ts'
import type { Figure, Result } from './results.ts'

export function formatResults(results: readonly Result[]): string {
  const workloads = Map.groupBy(results, ({ workload }) => workload)
  return [...workloads]
    .map(([workload, rows]) => {
      const columns = columnsOf(rows)
      const table = [
        columns.map(({ title }) => title),
        ...rows.map((row) => columns.map(({ cell }) => cell(row))),
      ]
      return `${workload}: ${workloadNamed(workload).summary}\n${formatTable(table)}`
    })
    .join('\n\n')
}

function columnsOf(results: readonly Result[]): MarkdownColumn<Result>[] {
  return [
    { title: 'contender', cell: ({ contender }) => contender },
    figure('webhooks/s', 'webhooks_per_second', 0),
    figure('stored/s', 'stored_per_second', 0),
    ratioToDirect('stored_per_second', results),
    figure('CPU ms/msg', 'cpu_ms_per_message', 3),
    ratioToDirect('cpu_ms_per_message', results),
    figure('receiver', 'receiver_cpu_ms_per_message', 3),
    figure('worker', 'worker_cpu_ms_per_message', 3),
    figure('Redis', 'redis_cpu_ms_per_message', 3),
    figure('PostgreSQL', 'postgres_cpu_ms_per_message', 3),
    figure('ack p50', 'ack_p50_ms', 1),
    figure('ack p99', 'ack_p99_ms', 1),
    figure('paced p99', 'paced_ack_p99_ms', 1),
    figure('MB receiver', 'receiver_mb', 0),
    figure('MB worker', 'worker_mb', 0),
    { title: 'kept', cell: describeLosses },
  ]
}

export function figure(title: string, name: Figure, digits: number): MarkdownColumn<Result> {
  return { title, cell: (result) => number(result[name], digits) }
}

/** A figure divided by that of `direct` in the same workload. */
export function ratioToDirect(name: Figure, results: readonly Result[]): MarkdownColumn<Result> {
  const base = results.find(({ contender }) => contender === 'direct')?.[name]
  return {
    title: '× direct',
    cell: ({ [name]: value }) => (value === null || !base ? '-' : (value / base).toFixed(2)),
  }
}

/** Whether each acknowledged message is stored once. */
function describeLosses({ stored_per_second, lost, doubled, refused }: Result): string {
  if (stored_per_second === null) return refused === 0 ? '-' : `${refused} refused`
  const problems = Object.entries({ lost, doubled, refused }).filter(([, count]) => count > 0)
  return problems.length === 0 ? 'all, once' : problems.map(([name, count]) => `${count} ${name}`).join(', ')
}

export function number(value: number | null | undefined, digits: number): string {
  if (value === null || value === undefined) return '-'
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
