/** The command line of `npm run chaos`. */
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { numberOption, type OptionValues, textOption, UsageError } from '../src/cli/command.ts'
import { closestTo } from '../src/cli/suggestion.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS, SHORT } from './scenarios/index.ts'
import { BACKENDS, type Backend } from './world/world.ts'

export const USAGE = `
npm run chaos starts the service with a Redis and a PostgreSQL of its own, sends webhooks to it as Meta does, takes things
away, and counts afterwards: acknowledged is stored, nothing twice, every status final, no job stuck.
It ends with 0 only if every scenario kept its promise.

Usage: npm run chaos -- [options]

  --only NAMES       these scenarios, comma-separated (all)
  --backend NAME     redis or postgres: what the queue runs on (both)
  --seed N           traffic and moments of the faults (1)
  --rounds N         everything again with the next seed, so often (1)
  --parallel N       so many at a time, each with servers of its own (1); two for each core that is idle
  --minutes M        of load in each scenario (its own length, a few seconds)
  --short            a few scenarios, quickly, with patience for a busy machine: for CI
  --json FILE        the result as a JSON document
  --markdown FILE    the result as a table; between its marks, where the file has them
  --svg FILE         the memory of every process over time, as a drawing
  --logs DIR         keeps the logs of what broke its promise (in the directory for temporary files)
  --list             what there is, with what is promised
  -h, --help         this text

Needs redis-server or valkey-server on the PATH (or apt, as root) for the Redis backend. A few scenarios need root: they
are skipped without it, with the reason.

Examples:
  npm run chaos -- --only kill-worker --seed 7
  npm run chaos -- --rounds 3 --parallel 4 --json chaos.json --markdown docs/guarantees.md
  npm run chaos -- --only soak --minutes 30 --parallel 2 --svg docs/memory.svg`.trim()

const OPTIONS = {
  only: { type: 'string', multiple: true },
  backend: { type: 'string' },
  seed: { type: 'string' },
  rounds: { type: 'string' },
  parallel: { type: 'string' },
  minutes: { type: 'string' },
  short: { type: 'boolean' },
  json: { type: 'string' },
  markdown: { type: 'string' },
  svg: { type: 'string' },
  logs: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** One scenario on one backend with one seed. */
export type Play = { scenario: Scenario; backend: Backend; seed: number }

export type Settings = {
  plan: readonly Play[]
  parallel: number
  /** Of load; undefined: each scenario's own. */
  seconds: number | undefined
  /** Of the limits in time. */
  patience: number
  /** Of each scenario's webhooks a second. */
  rateShare: number
  jsonFile: string | undefined
  markdownFile: string | undefined
  svgFile: string | undefined
  logDirectory: string
}

/** Other suites run beside the short form, on as few cores. */
const SHORT_PATIENCE = 3
const SHORT_SECONDS = 2
/** The backlog of an outage has to be stored in time, also where other suites take most of the CPU. */
const SHORT_RATE_SHARE = 1 / 3
const SHORT_PARALLEL = 3
const MAX_PARALLEL = 64

/** @throws UsageError, or what parseArgs throws. */
export function readOptions(args: string[]): 'help' | 'list' | Settings {
  const { values } = parseArgs({ args, options: OPTIONS, strict: true })
  if (values.help) return 'help'
  return values.list ? 'list' : readSettings(values)
}

function readSettings(values: OptionValues): Settings {
  const isShort = values.short === true
  const minutes = numberOption(values, 'minutes', { min: 0.01 })
  const parallel = numberOption(values, 'parallel', { min: 1, max: MAX_PARALLEL, integer: true })
  return {
    plan: makePlan(values, isShort),
    parallel: parallel ?? (isShort ? SHORT_PARALLEL : 1),
    seconds: minutes === undefined ? (isShort ? SHORT_SECONDS : undefined) : minutes * 60,
    patience: isShort ? SHORT_PATIENCE : 1,
    rateShare: isShort ? SHORT_RATE_SHARE : 1,
    jsonFile: textOption(values, 'json'),
    markdownFile: textOption(values, 'markdown'),
    svgFile: textOption(values, 'svg'),
    logDirectory: textOption(values, 'logs') ?? path.join(tmpdir(), 'wa-ingest-chaos-logs'),
  }
}

function makePlan(values: OptionValues, isShort: boolean): Play[] {
  const seed = numberOption(values, 'seed', { max: 2 ** 32 - 1, integer: true }) ?? 1
  const rounds = numberOption(values, 'rounds', { min: 1, integer: true }) ?? 1
  const scenarios = chooseScenarios(values.only, isShort)
  const backends = chooseBackends(values.backend)
  const plan = Array.from({ length: rounds }, (_, round) =>
    scenarios.flatMap((scenario) =>
      backends
        .filter((backend) => scenario.backends.includes(backend))
        .filter((backend) => !isShort || SHORT[scenario.name]?.includes(backend) !== false)
        .map((backend) => ({ scenario, backend, seed: seed + round })),
    ),
  ).flat()
  if (plan.length === 0) throw new UsageError('none of these scenarios runs on this backend; see --list')
  return plan
}

function chooseScenarios(only: OptionValues[string], isShort: boolean): readonly Scenario[] {
  if (!Array.isArray(only)) return isShort ? SCENARIOS.filter(({ name }) => name in SHORT) : SCENARIOS
  const names = only.flatMap((list) => list.split(',')).map((name) => name.trim())
  return names.map((name) => {
    const scenario = SCENARIOS.find((candidate) => candidate.name === name)
    if (scenario !== undefined) return scenario
    const suggestion = closestTo(
      name,
      SCENARIOS.map((candidate) => candidate.name),
    )
    const hint = suggestion === undefined ? '' : `; did you mean ${suggestion}?`
    throw new UsageError(`no scenario "${name}"${hint} See --list`)
  })
}

function chooseBackends(name: OptionValues[string]): readonly Backend[] {
  if (name === undefined) return BACKENDS
  const backend = BACKENDS.find((candidate) => candidate === name)
  if (backend === undefined) throw new UsageError(`--backend is redis or postgres, not "${String(name)}"`)
  return [backend]
}
