/** `npm run bench`: see options.ts for what it can be asked for, run-bench.ts for what it does. */
import { writeFileSync } from 'node:fs'
import { UsageError } from '../src/cli/command.ts'
import { HELP, type Options, parseOptions } from './options.ts'
import { drawChart } from './report/chart.ts'
import { checkLoader } from './report/loader-check.ts'
import { describeMachine } from './report/machine.ts'
import { formatProfiles } from './report/profiles.ts'
import { summarise } from './report/results.ts'
import { formatResults } from './report/results-table.ts'
import { createScreen } from './report/screen.ts'
import { formatTargets } from './report/targets.ts'
import { runBench } from './run-bench.ts'

const EXIT_FAILURE = 1
const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130

const QUICK_NOTE = 'A quick run: it shows whether everything works, and the numbers mean nothing.'

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2), process.env)
  if (options === undefined) {
    print(HELP)
    return 0
  }
  const interrupted = new AbortController()
  // A second one ends us at once; whatever we have started ends with us.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupted.abort())
  const run = await runBench(options.settings, createScreen(process.stderr), interrupted.signal)
  report(options, run)
  if (interrupted.signal.aborted) return EXIT_INTERRUPTED
  return run.failures.length > 0 ? EXIT_FAILURE : 0
}

function report({ settings, jsonFile, svgFile }: Options, run: Awaited<ReturnType<typeof runBench>>): void {
  const results = summarise(run.measurements)
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
  if (svgFile !== undefined) writeFileSync(svgFile, drawChart(results))
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
