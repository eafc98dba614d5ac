/**
 * Memory over time: a panel for each play, a line for each process and for what Redis says that it uses. Colours that are
 * readable on light and on dark pages, and nothing that a sanitiser would take out.
 */
import type { ScenarioReport } from './report.ts'

const WIDTH = 760
const PANEL_HEIGHT = 230
const PLOT = { left: 52, top: 34, width: 590, height: 160 }
const LEGEND_LEFT = PLOT.left + PLOT.width + 14
const LEGEND_ROW = 18
const TICKS = 4
const COLOURS = ['#2f81f7', '#8957e5', '#2ea043', '#d29922', '#db61a2', '#1b7c83']
const REDIS_COLOUR = '#da3633'

type Sample = ScenarioReport['memory'][number]

/** An SVG document. */
export function drawMemory(reports: readonly ScenarioReport[]): string {
  const plays = reports.filter(({ memory }) => memory.length > 1)
  const height = PANEL_HEIGHT * Math.max(1, plays.length)
  const panels = plays.map((play, index) => drawPanel(play, index * PANEL_HEIGHT))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Memory of wa-ingest over time">
<style>
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 14px; font-weight: 600; fill: #24292f }
  .rule { stroke: #8b949e; stroke-opacity: .35 }
  @media (prefers-color-scheme: dark) {
    text { fill: #8b949e }
    .title { fill: #e6edf3 }
  }
</style>
${panels.join('\n')}
</svg>
`
}

function drawPanel({ name, backend, seed, memory }: ScenarioReport, top: number): string {
  const names = [...new Set(memory.flatMap(({ mb }) => Object.keys(mb)))]
  const mostMb = roundUp(Math.max(1, ...memory.flatMap(({ mb }) => Object.values(mb))))
  const lastMs = memory.at(-1)?.at_ms ?? 1
  const x = (atMs: number) => PLOT.left + (atMs / lastMs) * PLOT.width
  const y = (mb: number) => top + PLOT.top + PLOT.height * (1 - mb / mostMb)
  const colourOf = (process: string) =>
    process === 'redis' ? REDIS_COLOUR : (COLOURS[names.indexOf(process) % COLOURS.length] ?? '')
  const rules = Array.from({ length: TICKS + 1 }, (_, tick) => {
    const mb = (mostMb * tick) / TICKS
    return `<line class="rule" x1="${PLOT.left}" x2="${PLOT.left + PLOT.width}" y1="${y(mb).toFixed(1)}" y2="${y(mb).toFixed(1)}"/><text x="${PLOT.left - 6}" y="${(y(mb) + 4).toFixed(1)}" text-anchor="end">${mb}</text>`
  })
  const times = Array.from({ length: TICKS + 1 }, (_, tick) => {
    const atMs = (lastMs * tick) / TICKS
    const minutes = (atMs / 60_000).toFixed(lastMs < 600_000 ? 1 : 0)
    return `<text x="${x(atMs).toFixed(1)}" y="${top + PLOT.top + PLOT.height + 16}" text-anchor="middle">${minutes} min</text>`
  })
  const lines = names.map((process) => {
    const d = pathOf(memory, process, x, y)
    return `<path d="${d}" fill="none" stroke="${colourOf(process)}" stroke-width="1.5"/>`
  })
  const legend = names.map((process, row) => {
    const baseline = top + PLOT.top + 10 + row * LEGEND_ROW
    return `<rect x="${LEGEND_LEFT}" y="${baseline - 9}" width="10" height="10" fill="${colourOf(process)}"/><text x="${LEGEND_LEFT + 16}" y="${baseline}">${process}</text>`
  })
  const title = `<text class="title" x="${PLOT.left}" y="${top + 20}">MB, ${name} on ${backend}, seed ${seed}</text>`
  return [title, ...rules, ...times, ...lines, ...legend].join('\n')
}

/** With a gap where the process was not running. */
function pathOf(
  memory: readonly Sample[],
  process: string,
  x: (atMs: number) => number,
  y: (mb: number) => number,
): string {
  let isDrawing = false
  const steps = memory.map(({ at_ms, mb }) => {
    const value = mb[process]
    const command =
      value === undefined ? '' : `${isDrawing ? 'L' : 'M'}${x(at_ms).toFixed(1)} ${y(value).toFixed(1)}`
    isDrawing = value !== undefined
    return command
  })
  return steps.join('')
}

function roundUp(mb: number): number {
  return Math.ceil(mb / 40) * 40
}
