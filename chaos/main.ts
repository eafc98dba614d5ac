/** `npm run chaos`: breaks things around a real service, and counts what it kept. */
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { numberOption, type OptionValues, UsageError } from '../src/cli/command.ts'
import { createProgress } from '../src/cli/progress.ts'
import { closestTo } from '../src/cli/suggestion.ts'
import { EXIT_CODES, listenForSignals } from '../src/lifecycle/process-signals.ts'
import { formatHeader, formatReport, type ScenarioReport } from './report.ts'
import { runScenario } from './run-scenario.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS, SHORT } from './scenarios/index.ts'
import { BACKENDS, type Backend } from './world/world.ts'

const USAGE = `
npm run chaos starts the service with a Redis and a PostgreSQL of its own, sends webhooks to it as Meta does, takes things
away, and counts afterwards: acknowledged is stored, nothing twice, every status final, no job stuck.
It ends with 0 only if every scenario kept its promise.

Usage: npm run chaos -- [options]

  --only NAMES       these scenarios, comma-separated (all)
  --backend NAME     redis or postgres: what the queue runs on (both)
  --seed N           traffic and moments of the faults (1)
  --rounds N         everything again with the next seed, so often (1)
  --minutes M        of load in each scenario (its own length, 10 to 30 s)
  --short            a few scenarios, quickly, with patience for a busy machine: for CI
  --json FILE        the result as a JSON document
  --logs DIR         keeps the logs of what broke its promise (in the directory for temporary files)
  --list             what there is, with what is promised
  -h, --help         this text

Needs redis-server or valkey-server on the PATH (or apt, as root) for the Redis backend. A few scenarios need root: they
are skipped without it, with the reason.

Examples:
  npm run chaos -- --only kill-worker --seed 7
  npm run chaos -- --rounds 3 --json chaos.json`

const OPTIONS = {
  only: { type: 'string', multiple: true },
  backend: { type: 'string' },
  seed: { type: 'string' },
  rounds: { type: 'string' },
  minutes: { type: 'string' },
  short: { type: 'boolean' },
  json: { type: 'string' },
  logs: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

type Settings = {
  plan: readonly { scenario: Scenario; backend: Backend; seed: number }[]
  seconds: number | undefined
  patience: number
  jsonFile: string | undefined
  logDirectory: string
}

type Skipped = { name: string; backend: Backend; seed: number; reason: string }

/** Other suites run beside the short form, on as few cores. */
const SHORT_PATIENCE = 3
const SHORT_SECONDS = 3

async function main(args: string[], signal: AbortSignal): Promise<number> {
  const { values } = parseArgs({ args, options: OPTIONS, strict: true })
  if (values.help) return print(USAGE.trim())
  if (values.list) return print(describeScenarios())
  const settings = readSettings(values)
  const { reports, skipped } = await runPlan(settings, signal)
  if (settings.jsonFile !== undefined) {
    writeFileSync(settings.jsonFile, `${JSON.stringify({ scenarios: reports, skipped }, null, 2)}\n`)
  }
  const broken = reports.filter(({ ok }) => !ok)
  print(
    broken.length === 0
      ? `${reports.length} of ${reports.length} kept their promise${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`
      : `${broken.length} of ${reports.length} BROKE THEIR PROMISE: ${broken.map((report) => `${report.name} on ${report.backend} (seed ${report.seed})`).join(', ')}; logs in ${settings.logDirectory}`,
  )
  return broken.length === 0 ? 0 : 1
}

async function runPlan(settings: Settings, signal: AbortSignal) {
  const reports: ScenarioReport[] = []
  const skipped: Skipped[] = []
  print(formatHeader())
  for (const [index, { scenario, backend, seed }] of settings.plan.entries()) {
    signal.throwIfAborted()
    const reason = scenario.unavailable?.()
    if (reason !== undefined) {
      skipped.push({ name: scenario.name, backend, seed, reason })
      print(`${scenario.name} on ${backend}: skipped, ${reason}`)
      continue
    }
    const progress = createProgress({
      stream: process.stderr,
      label: `${index + 1}/${settings.plan.length} ${scenario.name} on ${backend}, seed ${seed}`,
      env: process.env,
    })
    const report = await runScenario(scenario, {
      ...{ backend, seed, signal },
      ...{ seconds: settings.seconds, patience: settings.patience, logDirectory: settings.logDirectory },
      onProgress: ({ phase, acknowledged, sent }) =>
        progress.update(acknowledged, `of ${sent} acknowledged, ${phase}`),
    }).finally(() => progress.finish())
    reports.push(report)
    print(formatReport(report))
  }
  return { reports, skipped }
}

function readSettings(values: OptionValues): Settings {
  const isShort = values.short === true
  const minutes = numberOption(values, 'minutes', { min: 0.01 })
  const seed = numberOption(values, 'seed', { max: 2 ** 32 - 1, integer: true }) ?? 1
  const rounds = numberOption(values, 'rounds', { min: 1, integer: true }) ?? 1
  const scenarios = chooseScenarios(values.only, isShort)
  const backends = chooseBackends(values.backend)
  const plan = Array.from({ length: rounds }, (_, round) =>
    scenarios.flatMap((scenario) =>
      backends
        .filter((backend) => scenario.backends.includes(backend))
        .map((backend) => ({ scenario, backend, seed: seed + round })),
    ),
  ).flat()
  if (plan.length === 0) throw new UsageError('none of these scenarios runs on this backend; see --list')
  return {
    plan,
    seconds: minutes === undefined ? (isShort ? SHORT_SECONDS : undefined) : minutes * 60,
    patience: isShort ? SHORT_PATIENCE : 1,
    jsonFile: typeof values.json === 'string' ? values.json : undefined,
    logDirectory: typeof values.logs === 'string' ? values.logs : path.join(tmpdir(), 'wa-ingest-chaos-logs'),
  }
}

function chooseScenarios(only: OptionValues[string], isShort: boolean): readonly Scenario[] {
  if (!Array.isArray(only))
    return SCENARIOS.filter(({ name, isOptional }) => (isShort ? SHORT.includes(name) : !isOptional))
  const names = only.flatMap((list) => list.split(',')).map((name) => name.trim())
  return names.map((name) => {
    const scenario = SCENARIOS.find((candidate) => candidate.name === name)
    if (scenario !== undefined) return scenario
    const suggestion = closestTo(
      name,
      SCENARIOS.map((candidate) => candidate.name),
    )
    throw new UsageError(
      `no scenario "${name}"${suggestion === undefined ? '' : `; did you mean ${suggestion}?`} See --list`,
    )
  })
}

function chooseBackends(name: OptionValues[string]): readonly Backend[] {
  if (name === undefined) return BACKENDS
  const backend = BACKENDS.find((candidate) => candidate === name)
  if (backend === undefined) throw new UsageError(`--backend is redis or postgres, not "${String(name)}"`)
  return [backend]
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
    process.stderr.write(
      `chaos: ${err instanceof Error ? err.message : String(err)}${isUsage ? '\nSee npm run chaos -- --help.' : ''}\n`,
    )
    process.exitCode = isUsage ? 2 : 1
  }
} finally {
  dispose()
}
