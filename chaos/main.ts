/** `npm run chaos`: breaks things around a real service, and counts what it kept. */
import { writeFileSync } from 'node:fs'
import { UsageError } from '../src/cli/command.ts'
import { EXIT_CODES, listenForSignals } from '../src/lifecycle/process-signals.ts'
import { readOptions, type Settings, USAGE } from './options.ts'
import { writeMarkdown } from './report/markdown.ts'
import { drawMemory } from './report/memory-chart.ts'
import { type PlanResult, runPlan } from './run-plan.ts'
import { SCENARIOS } from './scenarios/index.ts'

async function main(args: string[], signal: AbortSignal): Promise<number> {
  const options = readOptions(args)
  if (options === 'help') return print(USAGE)
  if (options === 'list') return print(describeScenarios())
  const startedAt = new Date()
  const result = await runPlan(options, { signal, print })
  writeFiles(options, result, { command: ['npm run chaos --', ...args].join(' '), startedAt })
  print(summarize(result, options.logDirectory))
  return result.reports.every(({ ok }) => ok) ? 0 : 1
}

function writeFiles(
  { jsonFile, markdownFile, svgFile }: Settings,
  { reports, skipped, durationMs }: PlanResult,
  { command, startedAt }: { command: string; startedAt: Date },
): void {
  if (jsonFile !== undefined) {
    const started_at = startedAt.toISOString()
    const document = { command, started_at, duration_ms: Math.round(durationMs), scenarios: reports, skipped }
    writeFileSync(jsonFile, `${JSON.stringify(document, null, 2)}\n`)
  }
  if (markdownFile !== undefined) writeMarkdown(markdownFile, { reports, command, startedAt, durationMs })
  if (svgFile !== undefined) writeFileSync(svgFile, drawMemory(reports))
}

function summarize({ reports, skipped }: PlanResult, logDirectory: string): string {
  const broken = reports.filter(({ ok }) => !ok)
  if (broken.length === 0) {
    const left = skipped.length > 0 ? `, ${skipped.length} skipped` : ''
    return `${reports.length} of ${reports.length} kept their promise${left}`
  }
  const names = broken.map(({ name, backend, seed }) => `${name} on ${backend} (seed ${seed})`).join(', ')
  return `${broken.length} of ${reports.length} BROKE THEIR PROMISE: ${names}; logs in ${logDirectory}`
}

function describeScenarios(): string {
  return SCENARIOS.map(
    ({ name, backends, promise }) => `${name} (${backends.join(', ')})\n  ${promise}`,
  ).join('\n')
}

function print(text: string): 0 {
  process.stdout.write(`${text}\n`)
  return 0
}

const { signal, dispose } = listenForSignals()
try {
  process.exitCode = await main(process.argv.slice(2), signal)
} catch (err) {
  const isUsage =
    err instanceof UsageError ||
    (err instanceof Error && 'code' in err && String(err.code).startsWith('ERR_PARSE_ARGS_'))
  if (signal.aborted) process.exitCode = signal.reason === 'SIGTERM' ? EXIT_CODES.SIGTERM : EXIT_CODES.SIGINT
  else {
    const hint = isUsage ? '\nSee npm run chaos -- --help.' : ''
    process.stderr.write(`chaos: ${err instanceof Error ? err.message : String(err)}${hint}\n`)
    process.exitCode = isUsage ? 2 : 1
  }
} finally {
  dispose()
}
