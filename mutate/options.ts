/** The command line of `npm run mutate`. */
import { globSync, statSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { numberOption, UsageError } from '../src/cli/command.ts'

export const USAGE = `
npm run mutate puts small bugs (mutants) into source files, one at a time, and runs the tests that cover the place. A mutant
is noticed when a test fails, or takes far too long. It ends with 0 only if enough mutants of each file are noticed, and
lists those that are not. The table at the end has a line for each file and, of several, one for all of them.

Usage: npm run mutate -- FILE... [options]

  FILE               a file of src/, a folder of it, or a pattern such as 'src/providers/*/signature.ts'
  --tests FILES      these test files in place of the chosen ones, comma-separated; more than once adds more
  --threshold N      per cent of the mutants of a file that tests must notice (85)
  --list             only which tests would run
  --json FILE        the result as a JSON document
  -h, --help         this text

The tests of src/x/y.ts are test/x/y.test.ts, test/x/y-*.test.ts, each test that imports the file (for src/core only those
of test/core), and those that mutate/tests-for.ts names. Tests that start the service as a process of its own are left out:
the mutants are not in it. A file of types alone is skipped.
PostgreSQL and Redis are real, as in every test. mutate/accepted.ts lists the mutants that no test can notice, and why.

A file takes from half a minute (pure functions) to some minutes (with a database), on one core.

Examples:
  npm run mutate -- src/core/status.ts
  npm run mutate -- src/core src/api/admin-auth.ts --threshold 90
  npm run mutate -- src/db/ingest/statuses.ts --tests test/db/ingest/statuses.test.ts`.trim()

const OPTIONS = {
  tests: { type: 'string', multiple: true },
  threshold: { type: 'string' },
  list: { type: 'boolean' },
  json: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

export type MutateOptions = {
  /** Relative to the root of the project. */
  files: readonly string[]
  /** Undefined: chosen for each file. */
  tests: readonly string[] | undefined
  thresholdPercent: number
  isList: boolean
  jsonFile: string | undefined
}

/** @throws UsageError, or an error of Node's parseArgs */
export function readOptions(args: string[]): MutateOptions | 'help' {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true })
  if (values.help) return 'help'
  if (positionals.length === 0) throw new UsageError('which files?')
  const tests = values.tests?.flatMap((text) => text.split(',')).map(existingFile)
  return {
    files: [...new Set(positionals.flatMap(filesOf))],
    tests,
    thresholdPercent: numberOption(values, 'threshold', { min: 0, max: 100 }) ?? 85,
    isList: values.list === true,
    jsonFile: values.json,
  }
}

function filesOf(pattern: string): string[] {
  const stat = statSync(pattern, { throwIfNoEntry: false })
  const found = globSync(stat?.isDirectory() ? path.join(pattern, '**/*.ts') : pattern).sort()
  const files = found.map((file) => path.relative('.', file))
  if (files.length === 0) throw new UsageError(`no such file: ${pattern}`)
  const other = files.find((file) => !file.startsWith('src/') || !file.endsWith('.ts'))
  if (other !== undefined) throw new UsageError(`${other} is not a file of src/`)
  return files
}

function existingFile(file: string): string {
  if (!statSync(file, { throwIfNoEntry: false })?.isFile()) throw new UsageError(`no such test: ${file}`)
  return path.relative('.', file)
}
