/**
 * Progress of long work, on stderr: one live line on a terminal, a plain line every few seconds anywhere else, nothing
 * with --json or --quiet.
 */
import type { CommandContext, OutputStream } from './command.ts'

export type Progress = {
  /** `done` of `total` so far, and further details. It may be called at any rate. */
  update(done: number, details?: string): void
  /** Ends the live line, so that later output starts on a new line. */
  finish(): void
}

export type ProgressOptions = {
  stream: OutputStream
  label: string
  /** Absent: no bar, no percentage and no remaining time. */
  total?: number
  isSilent?: boolean
  /** For NO_COLOR and TERM. */
  env?: NodeJS.ProcessEnv
  /** Milliseconds that only ever grow. */
  now?: () => number
}

const REDRAW_EVERY_MS = 100
const PLAIN_LINE_EVERY_MS = 5_000
/** The rate is an average over this time: long enough to be steady, short enough to follow a change. */
const RATE_WINDOW_MS = 5_000
const BAR_WIDTH = 24
const DEFAULT_COLUMNS = 80

const CLEAR_TO_END = '\u001b[K'
const CYAN = '\u001b[36m'
const RESET = '\u001b[0m'

/** Progress of a command: follows its --json and --quiet. */
export function commandProgress(ctx: CommandContext, label: string, total?: number): Progress {
  return createProgress({
    stream: ctx.stderr,
    label,
    ...(total === undefined ? {} : { total }),
    isSilent: ctx.values.json === true || ctx.values.quiet === true,
    env: ctx.env,
  })
}

export function createProgress(options: ProgressOptions): Progress {
  if (options.isSilent) return { update: () => {}, finish: () => {} }
  const isTerminal = options.stream.isTTY === true && options.env?.TERM !== 'dumb'
  return isTerminal ? createLiveLine(options) : createPlainLines(options)
}

function createLiveLine({ stream, label, total, env = {}, now = monotonicMs }: ProgressOptions): Progress {
  const meter = createMeter(label, total, now)
  const hasColour = (env.NO_COLOR ?? '') === ''
  let drawnAt = Number.NEGATIVE_INFINITY
  let redraw: NodeJS.Timeout | undefined

  const draw = () => {
    clearTimeout(redraw)
    redraw = undefined
    drawnAt = now()
    // One column stays free: a full line makes some terminals wrap.
    const columns = (stream.columns ?? DEFAULT_COLUMNS) - 1
    stream.write(`\r${liveLine(meter.read(), columns, hasColour)}${CLEAR_TO_END}`)
  }
  return {
    update(done, details) {
      meter.record(done, details)
      const waitMs = drawnAt + REDRAW_EVERY_MS - now()
      if (waitMs <= 0) draw()
      else redraw ??= setTimeout(draw, waitMs).unref()
    },
    finish() {
      draw()
      stream.write('\n')
    },
  }
}

function createPlainLines({ stream, label, total, now = monotonicMs }: ProgressOptions): Progress {
  const meter = createMeter(label, total, now)
  let writtenAt = now()
  let hasWritten = false
  const write = () => {
    stream.write(`${textOf(meter.read()).join(' · ')}\n`)
    writtenAt = now()
    hasWritten = true
  }
  return {
    update(done, details) {
      meter.record(done, details)
      if (now() - writtenAt >= PLAIN_LINE_EVERY_MS) write()
    },
    // Short work writes no line: its result is enough.
    finish: () => {
      if (hasWritten) write()
    },
  }
}

type Reading = {
  label: string
  done: number
  total: number | undefined
  perSecond: number | undefined
  etaMs: number | undefined
  details: string | undefined
}

type Meter = { record(done: number, details?: string): void; read(): Reading }

function createMeter(label: string, total: number | undefined, now: () => number): Meter {
  let samples: { at: number; done: number }[] = []
  let latest = { at: now(), done: 0 }
  let details: string | undefined
  return {
    record(done, moreDetails) {
      latest = { at: now(), done }
      details = moreDetails
      const last = samples.at(-1)
      if (last && latest.at - last.at < REDRAW_EVERY_MS) return
      samples.push(latest)
      const oldest = samples.findLastIndex(({ at }) => latest.at - at >= RATE_WINDOW_MS)
      if (oldest > 0) samples = samples.slice(oldest)
    },
    read() {
      const first = samples[0] ?? latest
      const elapsedMs = latest.at - first.at
      const perSecond = elapsedMs > 0 ? ((latest.done - first.done) / elapsedMs) * 1_000 : undefined
      const etaMs =
        total !== undefined && perSecond !== undefined && perSecond > 0
          ? (Math.max(0, total - latest.done) / perSecond) * 1_000
          : undefined
      return { label, done: latest.done, total, perSecond, etaMs, details }
    },
  }
}

function liveLine(reading: Reading, columns: number, hasColour: boolean): string {
  const [label = '', ...rest] = textOf(reading)
  const text = ` ${rest.join(' · ')}`
  const barWidth =
    reading.total === undefined ? 0 : Math.min(BAR_WIDTH, columns - label.length - text.length - 1)
  if (barWidth < 4) return `${label}${text}`.slice(0, Math.max(0, columns))
  const filled = Math.round(barWidth * shareOf(reading))
  const bar = '━'.repeat(filled)
  const rail = '─'.repeat(barWidth - filled)
  return `${label} ${hasColour ? `${CYAN}${bar}${RESET}` : bar}${rail}${text}`
}

/** The label, then the parts of the line. */
function textOf(reading: Reading): string[] {
  const { label, done, total, perSecond, etaMs, details } = reading
  const parts = [label]
  if (total === undefined) parts.push(formatCount(done))
  else parts.push(`${Math.floor(shareOf(reading) * 100)} %`, `${formatCount(done)} of ${formatCount(total)}`)
  if (perSecond !== undefined) parts.push(`${formatCount(Math.round(perSecond))}/s`)
  if (etaMs !== undefined && etaMs > 0) parts.push(`${formatDuration(etaMs)} left`)
  if (details) parts.push(details)
  return parts
}

function shareOf({ done, total }: Reading): number {
  return total === undefined || total <= 0 ? 1 : Math.min(1, Math.max(0, done / total))
}

/** 1234567 → 1,234,567 */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** 850 ms · 4.2 s · 2 min 05 s · 3 h 07 min */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1_000).toFixed(1)} s`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`
}

function pad(number: number): string {
  return String(number).padStart(2, '0')
}

function monotonicMs(): number {
  return performance.now()
}
