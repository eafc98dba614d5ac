/** The command line of the benchmark. */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { numberOption, type OptionValues, textOption, UsageError } from '../src/cli/command.ts'
import { closestTo } from '../src/cli/suggestion.ts'
import { CONTENDERS, contenderNamed } from './contenders.ts'
import type { Settings } from './settings.ts'
import { WORKLOADS, workloadNamed } from './workloads.ts'

export type Options = {
  settings: Settings
  jsonFile: string | undefined
  svgFile: string | undefined
  markdownFile: string | undefined
}

const ROOT = path.resolve(import.meta.dirname, '..')

const DEFINITIONS = {
  help: { type: 'boolean', short: 'h' },
  quick: { type: 'boolean' },
  contenders: { type: 'string' },
  workloads: { type: 'string' },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  messages: { type: 'string' },
  'warm-up': { type: 'string' },
  burst: { type: 'string' },
  'large-rows': { type: 'string' },
  rate: { type: 'string' },
  env: { type: 'string', multiple: true },
  profile: { type: 'string' },
  'data-dir': { type: 'string' },
  json: { type: 'string' },
  svg: { type: 'string' },
  markdown: { type: 'string' },
} as const

const FULL = {
  rounds: 3,
  seconds: 8,
  messages: undefined,
  warmUpMessages: 4_000,
  burstMessages: 20_000,
  stallSeconds: [5, 10, 10],
  largeRows: 5_000_000,
  rate: undefined,
} as const

/** So little that it only shows whether everything works. */
const QUICK = {
  rounds: 1,
  seconds: 0.3,
  messages: 60,
  warmUpMessages: 20,
  burstMessages: 200,
  stallSeconds: [0.2, 0.5, 0.5],
  largeRows: 2_000,
  rate: 100,
} as const

/** undefined: help was asked for. @throws UsageError */
export function parseOptions(args: readonly string[], env: NodeJS.ProcessEnv): Options | undefined {
  const values = parse(args)
  if (values.help === true) return undefined
  const usual = values.quick === true ? QUICK : FULL
  const whole = { min: 1, integer: true }
  return {
    settings: {
      isQuick: values.quick === true,
      contenders: chosen(values, 'contenders', CONTENDERS),
      workloads: chosen(values, 'workloads', WORKLOADS),
      rounds: numberOption(values, 'rounds', whole) ?? usual.rounds,
      seconds: numberOption(values, 'seconds', { min: 0.1 }) ?? usual.seconds,
      messages:
        numberOption(values, 'messages', whole) ??
        (values.seconds === undefined ? usual.messages : undefined),
      warmUpMessages: numberOption(values, 'warm-up', whole) ?? usual.warmUpMessages,
      burstMessages: numberOption(values, 'burst', whole) ?? usual.burstMessages,
      stallSeconds: usual.stallSeconds,
      largeRows: numberOption(values, 'large-rows', whole) ?? usual.largeRows,
      rate: numberOption(values, 'rate', { min: 1 }) ?? usual.rate,
      env: variables(values.env),
      databaseUrl: env.DATABASE_URL || undefined,
      dataDir: path.resolve(
        textOption(values, 'data-dir') ?? path.join(ROOT, '.data'),
        `bench-${process.pid}`,
      ),
      profileDir: resolved(values, 'profile'),
    },
    jsonFile: resolved(values, 'json'),
    svgFile: resolved(values, 'svg'),
    markdownFile: resolved(values, 'markdown'),
  }
}

function parse(args: readonly string[]): OptionValues {
  try {
    return parseArgs({ args: [...args], options: DEFINITIONS }).values
  } catch (err) {
    const known = Object.keys(DEFINITIONS).map((name) => `--${name}`)
    const wrong = args.find((arg) => arg.startsWith('--') && !known.includes(arg.split('=')[0] ?? ''))
    const suggestion = wrong === undefined ? undefined : closestTo(wrong, known)
    const hint = suggestion === undefined ? '' : `; did you mean ${suggestion}?`
    throw new UsageError(wrong === undefined ? String(err) : `unknown option ${wrong}${hint}`)
  }
}

/** Always in the usual order, whatever the order of asking. */
function chosen<Name extends string>(
  values: OptionValues,
  option: string,
  all: readonly Name[],
): readonly Name[] {
  const asked = textOption(values, option)
    ?.split(',')
    .map((name) => name.trim())
  if (asked === undefined) return all
  for (const name of asked) {
    if (all.some((known) => known === name)) continue
    const suggestion = closestTo(name, all)
    throw new UsageError(
      `--${option} does not know "${name}"; ${suggestion ? `did you mean ${suggestion}?` : `it knows ${all.join(', ')}`}`,
    )
  }
  return all.filter((name) => asked.includes(name))
}

function variables(given: OptionValues[string]): Record<string, string> {
  if (!Array.isArray(given)) return {}
  return Object.fromEntries(
    given.map((text) => {
      const [, name, value] = /^([A-Z_][A-Z0-9_]*)=(.*)$/s.exec(text) ?? []
      if (name === undefined) throw new UsageError(`--env takes NAME=value, not "${text}"`)
      return [name, value ?? '']
    }),
  )
}

function resolved(values: OptionValues, name: string): string | undefined {
  const value = textOption(values, name)
  // npm run starts in the root of the project, wherever it was called.
  return value === undefined ? undefined : path.resolve(process.env.INIT_CWD ?? '.', value)
}

export const HELP = `Usage: npm run bench -- [options]

Measures wa-ingest side by side with what people would write instead: the same machine, the same bodies, the same
durability, the contenders in turns over several rounds. Prints medians and their ratio to "direct".

Contenders:
${list(CONTENDERS.map((name) => [name, contenderNamed(name).summary]))}

Workloads:
${list(WORKLOADS.map((name) => [name, workloadNamed(name).summary]))}

Options:
  --contenders a,b  only these (all)
  --workloads a,b   only these (all)
  --rounds N        how often everything is measured (${FULL.rounds})
  --seconds S       how long requests are sent in each measurement (${FULL.seconds})
  --messages N      so many messages instead, however long it takes
  --warm-up N       messages before each measurement (${FULL.warmUpMessages.toLocaleString('en-US')})
  --burst N         messages of the burst (${FULL.burstMessages.toLocaleString('en-US')})
  --large-rows N    rows that are there in large-table (${FULL.largeRows.toLocaleString('en-US')})
  --rate R          webhooks per second of what is paced (half of what direct can do)
  --env NAME=value  for the processes of every contender, such as WORKER_CONCURRENCY=256; may come several times
  --profile DIR     write CPU profiles of receivers and workers there, and the statistics of Redis and PostgreSQL, and
                    print where the time went; slower, so not for figures
  --data-dir DIR    where PostgreSQL and Redis keep their data meanwhile; on a disk, not in memory (.data)
  --json FILE       write the results
  --svg FILE        draw a chart of them
  --markdown FILE   write them as tables for the docs
  --quick           tiny numbers: shows only that everything works (under a minute)
  -h, --help        this text

PostgreSQL is the one that npm has installed, or the server in DATABASE_URL, whose role must be able to create databases.
Redis is redis-server or valkey-server on the PATH. CPU and memory are read from /proc, so they need Linux.`

function list(lines: readonly (readonly [string, string])[]): string {
  const width = Math.max(...lines.map(([name]) => name.length))
  return lines.map(([name, summary]) => `  ${name.padEnd(width)}  ${summary}`).join('\n')
}
