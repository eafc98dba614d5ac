/** `npm run bench`: see options.ts for what it can be asked for, run-bench.ts for what it does. */
import { writeFileSync } from 'node:fs'
import { UsageError } from '../src/cli/command.ts'
import { HELP, type Options, parseOptions } from './options.ts'
import { drawResults } from './report/chart.ts'
import { checkLoader } from './report/loader-check.ts'
import { describeMachine } from './report/machine.ts'
import { formatMarkdown } from './report/markdown.ts'
import { formatProfiles } from './report/profiles.ts'
import { type Result, summarise } from './report/results.ts'
import { formatResults } from './report/results-table.ts'
import { createScreen } from './report/screen.ts'
import { formatTargets } from './report/targets.ts'
import { type BenchRun, runBench } from './run-bench.ts'

const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130

/** One Ctrl-C arrives twice under npm: from the terminal, and forwarded. */
const SECOND_SIGNAL_AFTER_MS = 500

const ARGS = process.argv.slice(2)
const QUICK_NOTE = 'A quick run: it shows whether everything works, and the numbers mean nothing.'

async function main(): Promise<number> {
  const options = parseOptions(ARGS, process.env)
  if (options === undefined) {
    print(HELP)
    return 0
  }
  const interrupted = signalFromTerminal()
  const run = await runBench(options.settings, createScreen(process.stderr), interrupted)
  const results = summarise(run.measurements)
  report(options, run, results)
  if (interrupted.aborted) return EXIT_INTERRUPTED
  return run.failures.length > 0 || results.some(isBrokenPromise) ? EXIT_FAILURE : 0
}

/** Aborts at the first signal; a second one ends us at once, and whatever we have started ends with us. */
function signalFromTerminal(): AbortSignal {
  const controller = new AbortController()
  let firstAt: number | undefined
  const onSignal = () => {
    firstAt ??= performance.now()
    controller.abort()
    if (performance.now() - firstAt > SECOND_SIGNAL_AFTER_MS) process.exit(EXIT_INTERRUPTED)
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, onSignal)
  return controller.signal
}

/** wa-ingest promises to store once what it acknowledges; the other contenders may lose messages. */
function isBrokenPromise({ contender, lost, doubled }: Result): boolean {
  return (contender === 'redis' || contender === 'postgres') && lost + doubled > 0
}

function report(
  { settings, jsonFile, svgFile, markdownFile }: Options,
  run: BenchRun,
  results: readonly Result[],
): void {
  const machine = describeMachine(run)
  const { profileDir } = settings
  const sections = [
    formatResults(results),
    ...(settings.isQuick ? [QUICK_NOTE] : [formatTargets(results), checkLoader(results)]),
    profileDir === undefined ? '' : formatProfiles(profileDir),
    run.failures.length === 0 ? '' : `Failed:\n${run.failures.join('\n')}`,
  ]
  print(sections.filter((section) => section !== '').join('\n\n'))
  if (jsonFile !== undefined) {
    const { rounds, seconds, messages, warmUpMessages, burstMessages, stallSeconds, largeRows } = settings
    const numbers = { rounds, seconds, messages, warmUpMessages, burstMessages, stallSeconds, largeRows }
    writeFileSync(jsonFile, `${JSON.stringify({ results, machine, settings: numbers }, null, 2)}\n`)
  }
  if (svgFile !== undefined) writeFileSync(svgFile, drawResults(results))
  if (markdownFile !== undefined) {
    const command = ['npm run bench', ...(ARGS.length > 0 ? ['--', ...ARGS] : [])].join(' ')
    writeFileSync(markdownFile, formatMarkdown({ results, machine, command, date: new Date() }))
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

try {
  process.exitCode = await main()
} catch (err) {
  process.exitCode = err instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE
  const message = err instanceof Error ? err.message : String(err)
  const hint = err instanceof UsageError ? '\nSee npm run bench -- --help.' : ''
  process.stderr.write(`bench: ${message}${hint}\n`)
}
