/** The results for a terminal: a table for each workload. */
import { formatTable } from '../../src/cli/table.ts'
import { type WorkloadName, workloadNamed } from '../workloads.ts'
import type { Result } from './results.ts'

const HEAD = [
  'contender',
  ...['webhooks/s', 'stored/s', '× direct', 'CPU ms/msg', '× direct'],
  ...['receiver', 'worker', 'Redis', 'PostgreSQL'],
  ...['ack p50', 'ack p99', 'paced p99', 'MB receiver', 'MB worker', 'kept'],
]

export function formatResults(results: readonly Result[]): string {
  const workloads = [...new Set(results.map(({ workload }) => workload))]
  return workloads.map((workload) => formatWorkload(workload, results)).join('\n\n')
}

function formatWorkload(workload: WorkloadName, all: readonly Result[]): string {
  const results = all.filter((result) => result.workload === workload)
  const direct = results.find(({ contender }) => contender === 'direct')
  const rows = results.map((result) => rowOf(result, direct))
  return `${workload}: ${workloadNamed(workload).summary}\n${formatTable([HEAD, ...rows])}`
}

function rowOf(result: Result, direct: Result | undefined): string[] {
  const cpu = (part: 'receiver' | 'worker' | 'redis' | 'postgres') =>
    number(result[`${part}_cpu_ms_per_message`], 3)
  return [
    result.contender,
    number(result.webhooks_per_second, 0),
    number(result.stored_per_second, 0),
    ratio(result.stored_per_second, direct?.stored_per_second),
    number(result.cpu_ms_per_message, 3),
    ratio(result.cpu_ms_per_message, direct?.cpu_ms_per_message),
    ...[cpu('receiver'), cpu('worker'), cpu('redis'), cpu('postgres')],
    number(result.ack_p50_ms, 1),
    number(result.ack_p99_ms, 1),
    number(result.paced_ack_p99_ms, 1),
    number(result.receiver_mb, 0),
    number(result.worker_mb, 0),
    keptOf(result),
  ]
}

/** Whether everything that was acknowledged is there once. */
function keptOf({ stored_per_second, lost, doubled, refused }: Result): string {
  if (stored_per_second === null) return refused === 0 ? '-' : `${refused} refused`
  const problems = [
    lost > 0 ? `${lost} lost` : '',
    doubled > 0 ? `${doubled} doubled` : '',
    refused > 0 ? `${refused} refused` : '',
  ].filter((text) => text !== '')
  return problems.length === 0 ? 'all, once' : problems.join(', ')
}

export function number(value: number | null | undefined, digits: number): string {
  if (value === null || value === undefined) return '-'
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function ratio(value: number | null, base: number | null | undefined): string {
  return value === null || !base ? '-' : (value / base).toFixed(2)
}
