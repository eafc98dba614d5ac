/**
 * The SVG drawer. A document is a column of panels: bars, or lines over time. The colours are readable on light and on dark
 * pages, and no element needs a script, a link or a font from elsewhere, so that a sanitiser leaves the document as it is.
 */

export type BarPanel = {
  kind: 'bars'
  title: string
  /** `values` are drawn one after the other; the longest bar of the panel fills the width. */
  bars: { label: string; isEmphasised: boolean; values: { value: number; fill: string }[]; text: string }[]
}

export type LinePanel = {
  kind: 'lines'
  title: string
  lines: { label: string; colour: string; points: { x: number; y: number | undefined }[] }[]
  /** The scale of y ends at a multiple of this. */
  roundTo: number
  formatX: (x: number) => string
}

export type LegendEntry = { label: string; fill: string }

export type Chart = {
  /** Read aloud by a screen reader. */
  description: string
  panels: readonly (BarPanel | LinePanel)[]
  /** Below the last panel. */
  legend?: readonly LegendEntry[]
}

const WIDTH = 760
const MARGIN = 12
const TITLE_HEIGHT = 30
const PANEL_GAP = 18
const BAR = { left: MARGIN + 130, width: 480, height: 16, rowHeight: 22 }
const PLOT = { left: 52, width: 590, height: 160, axisHeight: 22 }
const TICKS = 4
const LEGEND_SQUARE = 10

export function drawChart({ description, panels, legend = [] }: Chart): string {
  let top = MARGIN
  const drawn = panels.map((panel) => {
    const text = [
      textAt(MARGIN, top + 16, panel.title, 'class="title"'),
      ...(panel.kind === 'bars' ? drawBars(panel, top + TITLE_HEIGHT) : drawLines(panel, top + TITLE_HEIGHT)),
    ]
    top += heightOf(panel) + PANEL_GAP
    return text.join('\n')
  })
  const legendTop = top
  const height = legend.length > 0 ? legendTop + TITLE_HEIGHT : top
  const entries = legend.map((entry, index) => drawLegendEntry(entry, BAR.left + index * 100, legendTop))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${description}">
<style>
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 14px; font-weight: 600; fill: #24292f }
  .emphasised { font-weight: 600; fill: #24292f }
  .rule { stroke: #8b949e; stroke-opacity: .35 }
  @media (prefers-color-scheme: dark) {
    text { fill: #8b949e }
    .title, .emphasised { fill: #e6edf3 }
  }
</style>
${[...drawn, ...entries].join('\n')}
</svg>
`
}

function heightOf(panel: BarPanel | LinePanel): number {
  const content = panel.kind === 'bars' ? panel.bars.length * BAR.rowHeight : PLOT.height + PLOT.axisHeight
  return TITLE_HEIGHT + content
}

function drawBars({ bars }: BarPanel, panelTop: number): string[] {
  const sumOf = ({ values }: BarPanel['bars'][number]) => values.reduce((sum, { value }) => sum + value, 0)
  const scale = BAR.width / Math.max(...bars.map(sumOf), Number.MIN_VALUE)
  return bars.flatMap(({ label, isEmphasised, values, text }, index) => {
    const top = panelTop + index * BAR.rowHeight
    const baseline = top + BAR.height - 4
    const emphasis = isEmphasised ? 'class="emphasised"' : ''
    let left = BAR.left
    const segments = values.map(({ value, fill }) => {
      const width = value * scale
      const segment = `<rect x="${round(left)}" y="${top}" width="${round(width)}" height="${BAR.height}" fill="${fill}"/>`
      left += width
      return segment
    })
    return [
      textAt(BAR.left - 8, baseline, label, `${emphasis} text-anchor="end"`),
      ...segments,
      textAt(left + 6, baseline, text, emphasis),
    ]
  })
}

function drawLines({ lines, roundTo, formatX }: LinePanel, top: number): string[] {
  const points = lines.flatMap((line) => line.points)
  const lastX = Math.max(1, ...points.map(({ x }) => x))
  const lastY = Math.ceil(Math.max(1, ...points.map(({ y }) => y ?? 0)) / roundTo) * roundTo
  const left = (x: number) => PLOT.left + (x / lastX) * PLOT.width
  const height = (y: number) => top + PLOT.height * (1 - y / lastY)
  const ticks = Array.from({ length: TICKS + 1 }, (_, tick) => tick / TICKS)
  return [
    ...ticks.map((share) => {
      const y = round(height(share * lastY))
      return `<line class="rule" x1="${PLOT.left}" x2="${PLOT.left + PLOT.width}" y1="${y}" y2="${y}"/>`
    }),
    ...ticks.map((share) =>
      textAt(PLOT.left - 6, height(share * lastY) + 4, String(share * lastY), 'text-anchor="end"'),
    ),
    ...ticks.map((share) =>
      textAt(left(share * lastX), top + PLOT.height + 16, formatX(share * lastX), 'text-anchor="middle"'),
    ),
    ...lines.map((line) => {
      const d = pathOf(line.points.map(({ x, y }) => (y === undefined ? undefined : [left(x), height(y)])))
      return `<path d="${d}" fill="none" stroke="${line.colour}" stroke-width="1.5"/>`
    }),
    ...lines.map(({ label, colour }, row) =>
      drawLegendEntry({ label, fill: colour }, PLOT.left + PLOT.width + 14, top + row * 18),
    ),
  ]
}

/** A point that is undefined leaves a gap. */
function pathOf(points: readonly (readonly [x: number, y: number] | undefined)[]): string {
  return points
    .map((point, index) => {
      if (point === undefined) return ''
      return `${points[index - 1] === undefined ? 'M' : 'L'}${round(point[0])} ${round(point[1])}`
    })
    .join('')
}

function drawLegendEntry({ label, fill }: LegendEntry, left: number, top: number): string {
  const square = `<rect x="${left}" y="${top}" width="${LEGEND_SQUARE}" height="${LEGEND_SQUARE}" fill="${fill}"/>`
  return square + textAt(left + LEGEND_SQUARE + 6, top + LEGEND_SQUARE - 1, label)
}

function textAt(x: number, y: number, text: string, attributes = ''): string {
  return `<text${attributes === '' ? '' : ` ${attributes.trim()}`} x="${round(x)}" y="${round(y)}">${text}</text>`
}

function round(value: number): string {
  return value.toFixed(1)
}
