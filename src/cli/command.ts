/**
 * The contract of one command, `wa-ingest <name>`: one file per command, `export const command: Command`.
 *
 * `main.ts` parses the command line, shows the help, and turns what `run` does into an exit code: a returned number is
 * the exit code; a thrown UsageError is 2; any other error is one line on stderr and 1; an error thrown after Ctrl-C
 * is 130. A command prints results on stdout, everything else on stderr, and with `--json` exactly one document.
 */
import type { ParseArgsConfig } from 'node:util'

export type Command = {
  name: string
  /** One line of `wa-ingest --help`. */
  summary: string
  /** The whole text of `wa-ingest <name> --help`; names every option. */
  usage: string
  /** `help` (and -h) comes from main.ts. A numeric option is a string here: read it with `numberOption`. */
  options: NonNullable<ParseArgsConfig['options']>
  /** Without it, an argument that is no option is an error. */
  allowPositionals?: boolean
  run(ctx: CommandContext): Promise<number>
}

export type OptionValues = Record<string, string | boolean | string[] | undefined>

/** process.stdout and process.stderr, or any other stream in a test. */
export type OutputStream = NodeJS.WritableStream & { isTTY?: boolean; columns?: number }

export type CommandContext = {
  values: OptionValues
  positionals: string[]
  env: NodeJS.ProcessEnv
  stdout: OutputStream
  stderr: OutputStream
  /** Aborted by Ctrl-C and by SIGTERM. */
  signal: AbortSignal
}

/** The command line itself is wrong: one line on stderr, a hint at `--help`, exit 2. */
export class UsageError extends Error {
  override name = 'UsageError'
}

/** The text given for an option, or undefined. An empty text (`--url=`) is an error. */
export function textOption(values: OptionValues, name: string): string | undefined {
  const value = values[name]
  if (typeof value !== 'string') return undefined
  if (value.trim() === '') throw new UsageError(`--${name} is empty`)
  return value
}

export function flagOption(values: OptionValues, name: string): boolean {
  return values[name] === true
}

export type NumberRange = { min?: number; max?: number; integer?: boolean }

/** The number given for an option (`10000`, `10_000`, `0.3`), or undefined. Throws UsageError outside the range. */
export function numberOption(
  values: OptionValues,
  name: string,
  { min = 0, max = Number.MAX_SAFE_INTEGER, integer = false }: NumberRange = {},
): number | undefined {
  const text = textOption(values, name)
  if (text === undefined) return undefined
  const number = /^-?(?:\d[\d_]*)?(?:\.\d+)?$/.test(text) ? Number(text.replaceAll('_', '')) : Number.NaN
  if (Number.isFinite(number) && number >= min && number <= max && (!integer || Number.isInteger(number))) {
    return number
  }
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  throw new UsageError(`--${name} takes a ${integer ? 'whole ' : ''}number ${range}, not "${text}"`)
}

/** The time given for an option, or undefined. */
export function dateOption(values: OptionValues, name: string): Date | undefined {
  const text = textOption(values, name)
  if (text === undefined) return undefined
  const date = new Date(text)
  // Other forms are read in the time zone of the machine, or by guess.
  const isIso = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d))?$/.test(text)
  if (isIso && !Number.isNaN(date.getTime())) return date
  throw new UsageError(`--${name} takes a date such as 2026-06-01 or 2026-06-01T12:00:00Z, not "${text}"`)
}

export function writeLine(stream: OutputStream, text: string): void {
  stream.write(`${text}\n`)
}

/** The one document of `--json`. */
export function writeJson(stream: OutputStream, document: unknown): void {
  writeLine(stream, JSON.stringify(document, null, 2))
}
