/** The chart of docs/benchmarks.md: for each of the main figures a row of bars, one bar for each contender. */
import { type BarPanel, drawChart } from '../../rig/charts.ts'
import type { ContenderName } from '../contenders.ts'
import type { Part } from '../measure/resources.ts'
import { partsOf, type Result } from './results.ts'
import { number } from './results-table.ts'

const OURS: readonly ContenderName[] = ['redis', 'postgres']
const OURS_FILL = '#2f81f7'
const OTHERS_FILL = '#8b949e'
const PART_FILLS: Record<Part, string> = {
  receiver: '#2f81f7',
  worker: '#8957e5',
  redis: '#da3633',
  postgres: '#2ea043',
}

export function drawResults(results: readonly Result[]): string {
  const panels = [
    panelOf(results, 'single', 'Stored per second, one message in each webhook', storedRate),
    panelOf(results, 'batch10', 'Stored per second, ten messages in each webhook', storedRate),
    panelOf(results, 'burst', 'Acknowledged per second, when everything comes at once', acknowledgedRate),
    panelOf(results, 'single', 'CPU for each message stored, all processes', cpu),
  ].filter(({ bars }) => bars.length > 0)
  const legend = Object.entries(PART_FILLS).map(([label, fill]) => ({ label, fill }))
  return drawChart({ description: 'Benchmark of wa-ingest', panels, legend })
}

/** What a bar shows of a result; undefined: no bar. */
type Figure = (result: Result) => Pick<BarPanel['bars'][number], 'values' | 'text'> | undefined

const rate = (result: Result, value: number | null) => {
  if (value === null) return undefined
  return { values: [{ value, fill: isOurs(result) ? OURS_FILL : OTHERS_FILL }], text: number(value, 0) }
}
const storedRate: Figure = (result) => rate(result, result.stored_per_second)
const acknowledgedRate: Figure = (result) => rate(result, result.acknowledged_per_second)
const cpu: Figure = (result) => {
  if (result.cpu_ms_per_message === null) return undefined
  const values = partsOf(result).map(({ part, cpuMs }) => ({ value: cpuMs, fill: PART_FILLS[part] }))
  return { values, text: `${number(result.cpu_ms_per_message, 2)} ms` }
}

function panelOf(
  results: readonly Result[],
  workload: Result['workload'],
  title: string,
  figure: Figure,
): BarPanel {
  const bars = results.flatMap((result) => {
    const bar = result.workload === workload ? figure(result) : undefined
    return bar === undefined ? [] : [{ label: result.contender, isEmphasised: isOurs(result), ...bar }]
  })
  return { kind: 'bars', title, bars }
}

function isOurs({ contender }: Result): boolean {
  return OURS.includes(contender)
}
