/**
 * The chart of the docs: for each of the main figures a row of bars, one bar for each contender. Colours that are
 * readable on light and on dark pages, and nothing that a sanitiser would take out.
 */
import type { ContenderName } from '../contenders.ts'
import type { Part } from '../measure/resources.ts'
import { partsOf, type Result } from './results.ts'
import { number } from './results-table.ts'

type Bar = { label: string; isOurs: boolean; segments: { width: number; fill: string }[]; text: string }
type Panel = { title: string; bars: Bar[] }

const WIDTH = 760
const LABEL_WIDTH = 130
const BAR_WIDTH = 480
const BAR_HEIGHT = 16
const ROW_HEIGHT = 22
const TITLE_HEIGHT = 30
const PANEL_GAP = 18
const MARGIN = 12

const OURS: readonly ContenderName[] = ['redis', 'postgres']
const OURS_FILL = '#2f81f7'
const OTHERS_FILL = '#8b949e'
const PART_FILLS: Record<Part, string> = {
  receiver: '#2f81f7',
  worker: '#8957e5',
  redis: '#da3633',
  postgres: '#2ea043',
}

/** An SVG document. */
export function drawChart(results: readonly Result[]): string {
  const panels = [
    ratePanel(results, 'single', 'Stored per second, one message in each webhook'),
    ratePanel(results, 'batch10', 'Stored per second, ten messages in each webhook'),
    burstPanel(results),
    cpuPanel(results),
  ].filter((panel) => panel.bars.length > 0)
  let top = MARGIN
  const drawn = panels.map((panel) => {
    const text = drawPanel(panel, top)
    top += TITLE_HEIGHT + panel.bars.length * ROW_HEIGHT + PANEL_GAP
    return text
  })
  const height = top + TITLE_HEIGHT
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Benchmark of wa-ingest">
<style>
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 14px; font-weight: 600; fill: #24292f }
  .ours { font-weight: 600; fill: #24292f }
  @media (prefers-color-scheme: dark) {
    text { fill: #8b949e }
    .title, .ours { fill: #e6edf3 }
  }
</style>
${drawn.join('\n')}
${drawLegend(top)}
</svg>
`
}

function ratePanel(results: readonly Result[], workload: Result['workload'], title: string): Panel {
  return panelOf(title, of(results, workload), ({ stored_per_second: rate }) => rate)
}

function burstPanel(results: readonly Result[]): Panel {
  const title = 'Acknowledged per second, when everything comes at once'
  return panelOf(title, of(results, 'burst'), ({ acknowledged_per_second: rate }) => rate)
}

function panelOf(
  title: string,
  results: readonly Result[],
  valueOfResult: (result: Result) => number | null,
): Panel {
  const known = results.filter((result) => valueOfResult(result) !== null)
  const most = Math.max(1, ...known.map((result) => valueOfResult(result) ?? 0))
  const bars = known.map((result): Bar => {
    const value = valueOfResult(result) ?? 0
    const fill = isOurs(result) ? OURS_FILL : OTHERS_FILL
    return {
      label: result.contender,
      isOurs: isOurs(result),
      segments: [{ width: (value / most) * BAR_WIDTH, fill }],
      text: number(value, 0),
    }
  })
  return { title, bars }
}

function cpuPanel(results: readonly Result[]): Panel {
  const known = of(results, 'single').filter(({ cpu_ms_per_message: cpu }) => cpu !== null)
  const most = Math.max(...known.map(({ cpu_ms_per_message: cpu }) => cpu ?? 0))
  const bars = known.map((result): Bar => {
    const segments = partsOf(result).map(({ part, cpuMs }) => ({
      width: (cpuMs / most) * BAR_WIDTH,
      fill: PART_FILLS[part],
    }))
    const text = `${number(result.cpu_ms_per_message, 2)} ms`
    return { label: result.contender, isOurs: isOurs(result), segments, text }
  })
  return { title: 'CPU for each message stored, all processes', bars }
}

function of(results: readonly Result[], workload: Result['workload']): Result[] {
  return results.filter((result) => result.workload === workload)
}

function isOurs({ contender }: Result): boolean {
  return OURS.includes(contender)
}

function drawPanel({ title, bars }: Panel, top: number): string {
  const lines = bars.map((bar, index) => drawBar(bar, top + TITLE_HEIGHT + index * ROW_HEIGHT))
  return [`<text class="title" x="${MARGIN}" y="${top + 16}">${title}</text>`, ...lines].join('\n')
}

function drawBar({ label, isOurs: isEmphasised, segments, text }: Bar, top: number): string {
  const emphasis = isEmphasised ? ' class="ours"' : ''
  const baseline = top + BAR_HEIGHT - 4
  let left = MARGIN + LABEL_WIDTH
  const drawn = segments.map(({ width, fill }) => {
    const segment = `<rect x="${left.toFixed(1)}" y="${top}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" fill="${fill}"/>`
    left += width
    return segment
  })
  return [
    `<text${emphasis} x="${MARGIN + LABEL_WIDTH - 8}" y="${baseline}" text-anchor="end">${label}</text>`,
    ...drawn,
    `<text${emphasis} x="${(left + 6).toFixed(1)}" y="${baseline}">${text}</text>`,
  ].join('\n')
}

/** Of the parts in the last panel. */
function drawLegend(top: number): string {
  return Object.entries(PART_FILLS)
    .map(([part, fill], index) => {
      const left = MARGIN + LABEL_WIDTH + index * 100
      return `<rect x="${left}" y="${top}" width="10" height="10" fill="${fill}"/><text x="${left + 16}" y="${top + 9}">${part}</text>`
    })
    .join('\n')
}
