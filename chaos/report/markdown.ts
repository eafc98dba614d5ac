/** A run as a table for docs/guarantees.md: a row for each scenario and backend, over all of its seeds. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import {
  formatCommand,
  formatMarkdownTable,
  type MarkdownColumn,
  putBetweenMarks,
} from '../../rig/markdown.ts'
import { formatCount, formatDuration } from '../../src/cli/progress.ts'
import type { ScenarioReport } from './report.ts'

export type MarkdownOptions = {
  reports: readonly ScenarioReport[]
  /** As it was typed. */
  command: string
  startedAt: Date
  durationMs: number
}

/** The plays of one scenario on one backend. */
type Plays = readonly ScenarioReport[]

const COLUMNS: readonly MarkdownColumn<Plays>[] = [
  { title: 'scenario', isText: true, cell: (plays) => `\`${plays[0]?.name}\`` },
  { title: 'backend', isText: true, cell: (plays) => String(plays[0]?.backend) },
  {
    title: 'kept',
    isText: true,
    cell: (plays) => `${plays.filter(({ ok }) => ok).length} of ${plays.length}`,
  },
  sumOf('sent', ({ sent }) => sent),
  sumOf('acknowledged', ({ acknowledged }) => acknowledged),
  sumOf('redelivered', ({ redelivered, retried }) => redelivered + retried),
  sumOf('stored', ({ stored }) => stored),
  sumOf('doubled', ({ doubled }) => doubled),
  sumOf('lost', ({ lost }) => lost),
  longestOf('longest ack', ({ longest_ack_ms }) => longest_ack_ms),
  longestOf('recovery', ({ recovery_ms }) => recovery_ms),
]

/** Replaces what is between the marks of the file; a file without them becomes the table. */
export function writeMarkdown(file: string, options: MarkdownOptions): void {
  const page = existsSync(file) ? readFileSync(file, 'utf8') : ''
  writeFileSync(file, putBetweenMarks(page, 'chaos', formatMarkdown(options)))
}

export function formatMarkdown({ reports, command, startedAt, durationMs }: MarkdownOptions): string {
  const plays = Map.groupBy(reports, ({ name, backend }) => `${name} ${backend}`)
  const facts = `${availableParallelism()} cores, ${formatDuration(durationMs)}`
  const table = formatMarkdownTable(COLUMNS, [...plays.values()])
  return `${formatCommand(command, startedAt)}, ${facts}:\n\n${table}\n`
}

function sumOf(title: string, read: (play: ScenarioReport) => number): MarkdownColumn<Plays> {
  return { title, cell: (plays) => formatCount(plays.reduce((total, play) => total + read(play), 0)) }
}

function longestOf(title: string, read: (play: ScenarioReport) => number | null): MarkdownColumn<Plays> {
  const cell = (plays: Plays) => {
    const known = plays.map(read).filter((ms) => ms !== null)
    return known.length === 0 ? '–' : formatDuration(Math.max(...known))
  }
  return { title, cell }
}
