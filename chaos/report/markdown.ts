/** A run as a table for docs/guarantees.md: a row for each scenario and backend, over all of its seeds. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { formatCount, formatDuration } from '../../src/cli/progress.ts'
import type { ScenarioReport } from './report.ts'

export type MarkdownOptions = {
  reports: readonly ScenarioReport[]
  /** As it was typed. */
  command: string
  startedAt: Date
  durationMs: number
}

const BEGIN = '<!-- chaos: begin -->'
const END = '<!-- chaos: end -->'
const HEAD = [
  ...['scenario', 'backend', 'kept', 'sent', 'acknowledged', 'redelivered', 'stored', 'doubled', 'lost'],
  ...['longest ack', 'recovery'],
]
const TEXT_COLUMNS = 3

/** Replaces what is between the marks of the file; a file without them becomes the table. */
export function writeMarkdown(file: string, options: MarkdownOptions): void {
  const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
  writeFileSync(file, putBetweenMarks(before, formatMarkdown(options)))
}

export function putBetweenMarks(page: string, table: string): string {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin === -1 || end < begin) return table
  return `${page.slice(0, begin + BEGIN.length)}\n${table}${page.slice(end)}`
}

export function formatMarkdown({ reports, command, startedAt, durationMs }: MarkdownOptions): string {
  const groups = Map.groupBy(reports, ({ name, backend }) => `${name} ${backend}`)
  const rows = [...groups.values()].map(formatGroup)
  const lines = [HEAD, HEAD.map((_, column) => (column < TEXT_COLUMNS ? '---' : '---:')), ...rows]
  const facts = `${startedAt.toISOString().slice(0, 10)}, ${availableParallelism()} cores, ${formatDuration(durationMs)}`
  return `\`${command}\`, ${facts}:\n\n${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

function formatGroup(plays: readonly ScenarioReport[]): string[] {
  const sum = (read: (play: ScenarioReport) => number) =>
    formatCount(plays.reduce((total, play) => total + read(play), 0))
  const recoveries = plays.flatMap(({ recovery_ms }) => (recovery_ms === null ? [] : [recovery_ms]))
  return [
    `\`${plays[0]?.name}\``,
    String(plays[0]?.backend),
    `${plays.filter(({ ok }) => ok).length} of ${plays.length}`,
    sum(({ sent }) => sent),
    sum(({ acknowledged }) => acknowledged),
    sum(({ redelivered, retried }) => redelivered + retried),
    sum(({ stored }) => stored),
    sum(({ doubled }) => doubled),
    sum(({ lost }) => lost),
    formatDuration(Math.max(...plays.map(({ longest_ack_ms }) => longest_ack_ms))),
    recoveries.length === 0 ? '–' : formatDuration(Math.max(...recoveries)),
  ]
}
