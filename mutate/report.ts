/** What a run has found, as text and as JSON. */
import { readFileSync } from 'node:fs'
import { formatTable } from '../src/cli/table.ts'
import { ACCEPTED, type Accepted } from './accepted.ts'
import type { Mutant } from './run-mutants.ts'

/** Long enough to tell mutants of one line apart. */
const MAX_TEXT = 160

export type FileResult = {
  file: string
  tests: readonly string[]
  mutants: readonly Mutant[]
  seconds: number
}

export type Survivor = {
  file: string
  line: number
  column: number
  isReached: boolean
  /** The line in which the change begins. */
  text: string
  /** What is there, and what the mutant has in its place. */
  change: string
  /** Why it may survive: from accepted.ts. */
  why: string | undefined
}

export type Score = {
  file: string
  mutants: number
  noticed: number
  tooSlow: number
  percent: number
  seconds: number
}

/** Mutants that the types refuse do not count; accepted ones count as not noticed. */
export function scoreOf({ file, mutants, seconds }: FileResult): Score {
  const count = (outcome: Mutant['outcome']) => mutants.filter((mutant) => mutant.outcome === outcome).length
  const total = mutants.length - count('types')
  const noticed = count('noticed') + count('too slow')
  return {
    file,
    mutants: total,
    noticed,
    tooSlow: count('too slow'),
    percent: percentOf(noticed, total),
    seconds,
  }
}

/** All files together. */
export function totalOf(scores: readonly Score[]): Score {
  const sum = (key: Exclude<keyof Score, 'file' | 'percent'>) =>
    scores.reduce((total, score) => total + score[key], 0)
  const [mutants, noticed] = [sum('mutants'), sum('noticed')]
  return {
    file: 'all files',
    mutants,
    noticed,
    tooSlow: sum('tooSlow'),
    percent: percentOf(noticed, mutants),
    seconds: sum('seconds'),
  }
}

/** A file without mutants (types, numbers) leaves nothing to notice. */
function percentOf(noticed: number, mutants: number): number {
  return mutants === 0 ? 100 : (noticed / mutants) * 100
}

export function survivorsOf({ file, mutants }: FileResult): Survivor[] {
  const source = readFileSync(file, 'utf8')
  return mutants
    .filter(({ outcome }) => outcome === 'survived' || outcome === 'not reached')
    .map(({ outcome, line, column, range, replacement }) => {
      const text = shorten(source.split('\n')[line - 1] ?? '')
      const change = `${shorten(source.slice(...range))} → ${shorten(replacement)}`
      const why = ACCEPTED[file]?.find(
        (accepted) => accepted.line === text && accepted.change === change,
      )?.why
      return { file, line, column, isReached: outcome === 'survived', text, change, why }
    })
}

/** The entries of accepted.ts that fit no survivor of these files. */
export function staleEntries(survivors: readonly Survivor[], files: readonly string[]): Accepted[] {
  const isFound = ({ line, change }: Accepted, file: string) =>
    survivors.some((found) => found.file === file && found.text === line && found.change === change)
  return files.flatMap((file) => (ACCEPTED[file] ?? []).filter((entry) => !isFound(entry, file)))
}

export function formatSurvivor({ file, line, column, isReached, text, change, why }: Survivor): string {
  const reason = why === undefined ? (isReached ? '' : '  (no test reaches it)') : `  (accepted: ${why})`
  return `${file}:${line}:${column}${reason}\n  line    ${text}\n  change  ${change}`
}

export function formatScores(scores: readonly Score[], thresholdPercent: number): string {
  const lines = scores.length > 1 ? [...scores, totalOf(scores)] : scores
  const rows = lines.map(({ file, mutants, noticed, tooSlow, percent, seconds }) => [
    file,
    String(mutants),
    String(noticed),
    String(tooSlow),
    `${percent.toFixed(1)} %${percent < thresholdPercent ? ' ✗' : ''}`,
    `${Math.round(seconds)} s`,
  ])
  return formatTable([['file', 'mutants', 'noticed', 'of these by time', 'score', 'took'], ...rows])
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}…` : line
}
