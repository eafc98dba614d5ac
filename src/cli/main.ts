/**
 * `wa-ingest <command>`: finds the command, parses its options, runs it, and returns an exit code.
 *
 * A command is imported when it runs, so `--help` takes no longer than Node's own start.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { EXIT_CODES, listenForSignals } from '../lifecycle/process-signals.ts'
import type { Command, CommandContext, OptionValues } from './command.ts'
import { UsageError, writeLine } from './command.ts'
import { closestTo } from './suggestion.ts'

type CommandEntry = { summary: string; load: () => Promise<{ command: Command }> }

/** In the order of the help. `summary` repeats the command's own, so that the help imports no command. */
export const COMMANDS: Record<string, CommandEntry> = {
  start: {
    summary: 'run receiver, worker and dashboard in one process',
    load: () => import('./start.ts'),
  },
  api: {
    summary: 'run the receiver, the JSON API, the dashboard and Bull Board',
    load: () => import('./api.ts'),
  },
  worker: {
    summary: 'run a worker: store events, send messages and receipts, sweep, prune, back-fill',
    load: () => import('./worker.ts'),
  },
  migrate: {
    summary: 'bring the database to the schema of this version; take over an old chat_messages',
    load: () => import('./migrate.ts'),
  },
  dedupe: {
    summary: 'report duplicates of an id in a table; --apply moves them and builds the unique index',
    load: () => import('./dedupe.ts'),
  },
  verify: {
    summary: 'check that the unique index is valid and no message is stored twice',
    load: () => import('./verify.ts'),
  },
  reprocess: {
    summary: 'read stored messages and parked events again with this version',
    load: () => import('./reprocess.ts'),
  },
  'replay-completed': {
    summary: 'store the events of completed jobs again, after the database has lost commits',
    load: () => import('./replay-completed.ts'),
  },
  split: {
    summary: 'undo a merge of two contacts that are two people; --apply does it',
    load: () => import('./split.ts'),
  },
  backfill: {
    summary: 'fetch messages from Twilio whose webhooks never came',
    load: () => import('./backfill.ts'),
  },
  simulate: {
    summary: 'send signed webhooks to a running service, then count what was stored',
    load: () => import('./simulate.ts'),
  },
}

const EXIT_FAILURE = 1
const EXIT_USAGE = 2

/** How long open handles may keep the process alive after a command has finished. */
const EXIT_GRACE_MS = 3_000

export type MainContext = Pick<CommandContext, 'env' | 'stdout' | 'stderr' | 'signal'>

/** Runs one command line. Never rejects; the result is the exit code. */
export async function main(args: readonly string[], ctx: MainContext): Promise<number> {
  let name = 'wa-ingest'
  try {
    const [first, ...rest] = args
    if (first === undefined) {
      writeLine(ctx.stderr, overview())
      return EXIT_USAGE
    }
    if (first === '--version' || first === '-v') return print(ctx, packageVersion())
    if (first === 'help' || first === '--help' || first === '-h') return await showHelp(rest[0], ctx)
    if (first.startsWith('-')) throw unknownOption(first, ['--help', '--version'])
    const command = await loadCommand(first)
    name = `wa-ingest ${command.name}`
    return await runCommand(command, rest, ctx)
  } catch (err) {
    return reportFailure(err, name, ctx)
  }
}

async function runCommand(command: Command, args: readonly string[], ctx: MainContext): Promise<number> {
  const { values, positionals } = parseOptions(command, args)
  if (values.help === true) return print(ctx, command.usage.trim())
  return await command.run({ ...ctx, values, positionals })
}

function parseOptions(
  command: Command,
  args: readonly string[],
): { values: OptionValues; positionals: string[] } {
  const options = { ...command.options, help: { type: 'boolean', short: 'h' } } as const
  const known = new Set(
    Object.entries(options).flatMap(([name, { short }]) => (short ? [name, short] : [name])),
  )
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'option' && !known.has(token.name)) {
      throw unknownOption(
        token.rawName,
        Object.keys(options).map((name) => `--${name}`),
      )
    }
    if (token.kind === 'positional' && !command.allowPositionals) {
      throw new UsageError(`unexpected argument "${token.value}"`)
    }
  }
  const parsed = parseArgs({ args: [...args], options, strict: true, allowPositionals: true })
  const values: OptionValues = {}
  for (const [name, value] of Object.entries(parsed.values)) {
    values[name] = Array.isArray(value) ? value.map(String) : value
  }
  return { values, positionals: parsed.positionals }
}

async function loadCommand(name: string): Promise<Command> {
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (entry) return (await entry.load()).command
  const suggestion = closestTo(name, [...Object.keys(COMMANDS), 'help'])
  throw new UsageError(`unknown command "${name}"${didYouMean(suggestion && `wa-ingest ${suggestion}`)}`)
}

function unknownOption(option: string, known: readonly string[]): UsageError {
  return new UsageError(`unknown option ${option}${didYouMean(closestTo(option, known))}`)
}

function didYouMean(suggestion: string | undefined): string {
  return suggestion ? `; did you mean ${suggestion}?` : ''
}

async function showHelp(name: string | undefined, ctx: MainContext): Promise<number> {
  return print(ctx, name === undefined ? overview() : (await loadCommand(name)).usage.trim())
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const commands = Object.entries(COMMANDS).map(
    ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`,
  )
  return [
    'wa-ingest receives WhatsApp webhooks and stores every message exactly once in PostgreSQL.',
    '',
    'Usage: npx wa-ingest <command> [options]',
    '',
    'Commands:',
    ...commands,
    '',
    'Options:',
    '  -h, --help     this text; npx wa-ingest help <command> for one command',
    '  -v, --version  the version',
  ].join('\n')
}

function print(ctx: MainContext, text: string): number {
  writeLine(ctx.stdout, text)
  return 0
}

function reportFailure(err: unknown, name: string, { env, stderr, signal }: MainContext): number {
  const isUsage = err instanceof UsageError || codeOf(err)?.startsWith('ERR_PARSE_ARGS_')
  if (isUsage) {
    const message = describeError(err).replace(/\s+/g, ' ')
    writeLine(stderr, `${name}: ${message}\nSee ${name} --help.`)
    return EXIT_USAGE
  }
  if (signal.aborted) return exitCodeOf(signal.reason)
  writeLine(stderr, `${name}: ${describeError(err)}`)
  if (env.LOG_LEVEL === 'debug' && err instanceof Error) writeLine(stderr, err.stack ?? '')
  return EXIT_FAILURE
}

/** Node's AggregateError for a refused connection has no message, so its first inner error stands in. */
function describeError(err: unknown): string {
  if (!(err instanceof Error)) return String(err)
  if (err.message !== '') return err.message
  if (err instanceof AggregateError && err.errors.length > 0) return describeError(err.errors[0])
  return codeOf(err) ?? err.name
}

function codeOf(err: unknown): string | undefined {
  return err instanceof Error && 'code' in err && typeof err.code === 'string' ? err.code : undefined
}

function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}

/** Runs the command line of this process: listens for signals and sets the exit code. */
async function runProcess(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreClosedPipe)
  process.exitCode = await main(process.argv.slice(2), {
    env: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: listenForSignals().signal,
  })
  setTimeout(() => process.exit(), EXIT_GRACE_MS).unref()
}

/** `wa-ingest … | head` closes the output early; the command still finishes with its own exit code. */
function ignoreClosedPipe(err: NodeJS.ErrnoException): void {
  if (err.code !== 'EPIPE') throw err
}

function exitCodeOf(reason: unknown): number {
  return reason === 'SIGTERM' ? EXIT_CODES.SIGTERM : EXIT_CODES.SIGINT
}

if (import.meta.main) await runProcess()
