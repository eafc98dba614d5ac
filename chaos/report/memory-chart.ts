/** Memory over time: a panel for each play, a line for each process and for what Redis says that it uses. */
import { drawChart, type LinePanel } from '../../rig/charts.ts'
import type { ScenarioReport } from './report.ts'

const COLOURS = ['#2f81f7', '#8957e5', '#2ea043', '#d29922', '#db61a2', '#1b7c83'] as const
const REDIS_COLOUR = '#da3633'
/** Below this the times on the axis have a decimal place. */
const SHORT_MS = 10 * 60_000

export function drawMemory(reports: readonly ScenarioReport[]): string {
  const panels = reports.filter(({ memory }) => memory.length > 1).map(panelOf)
  return drawChart({ description: 'Memory of wa-ingest over time', panels })
}

function panelOf({ name, backend, seed, memory }: ScenarioReport): LinePanel {
  const processes = [...new Set(memory.flatMap(({ mb }) => Object.keys(mb)))]
  const decimals = (memory.at(-1)?.at_ms ?? 0) < SHORT_MS ? 1 : 0
  return {
    kind: 'lines',
    title: `MB, ${name} on ${backend}, seed ${seed}`,
    lines: processes.map((process, index) => ({
      label: process,
      colour: process === 'redis' ? REDIS_COLOUR : (COLOURS[index % COLOURS.length] ?? REDIS_COLOUR),
      points: memory.map(({ at_ms, mb }) => ({ x: at_ms, y: mb[process] })),
    })),
    roundTo: 40,
    formatX: (ms) => `${(ms / 60_000).toFixed(decimals)} min`,
  }
}
