/** `npm run mutate`: puts small bugs into source files, one at a time, and lists those that no test notices. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { UsageError } from '../src/cli/command.ts'
import { EXIT_CODES, listenForSignals } from '../src/lifecycle/process-signals.ts'
import { isAlive } from '../src/local/postmaster.ts'
import { type MutateOptions, readOptions, USAGE } from './options.ts'
import {
  type FileResult,
  formatScores,
  formatSurvivor,
  scoreOf,
  staleEntries,
  survivorsOf,
} from './report.ts'
import { startServers } from './servers.ts'
import { hasCode, testsFor } from './tests-for.ts'
import { checkTypes } from './type-check.ts'

/** Below the root of the project, so that copies find its node_modules, and ignored by Git. */
const PARENT = path.resolve('.vitest')
const FOLDER = /^mutate-(\d+)$/

async function main(args: string[], signal: AbortSignal): Promise<number> {
  const options = readOptions(args)
  if (options === 'help') return print(USAGE)
  for (const file of options.files.filter((file) => !hasCode(file))) print(`${file} has only types: skipped`)
  const plan = options.files.filter(hasCode).map((file) => ({ file, tests: options.tests ?? testsFor(file) }))
  if (options.isList) return print(plan.map(({ file, tests }) => [file, ...tests].join('\n  ')).join('\n'))
  const untested = plan.filter(({ tests }) => tests.length === 0).map(({ file }) => file)
  if (untested.length > 0) throw new UsageError(`no test for ${untested.join(', ')}: name some with --tests`)
  const { results, failed } = await withServers(() => runFiles(plan, signal))
  const isEnough = report(results, options)
  if (failed.length > 0) print(`\nNot measured, see above: ${failed.join(', ')}`)
  return isEnough && failed.length === 0 ? 0 : 1
}

type Plan = readonly { file: string; tests: readonly string[] }[]

/** One that cannot be measured does not end the run: a folder may take an hour. */
async function runFiles(
  plan: Plan,
  signal: AbortSignal,
): Promise<{ results: FileResult[]; failed: string[] }> {
  const results: FileResult[] = []
  const failed: string[] = []
  for (const { file, tests } of plan) {
    if (signal.aborted) break
    print(`\n▶ ${file}, with ${tests.join(', ')}`)
    try {
      const result = await runFile(file, tests)
      for (const survivor of survivorsOf(result)) print(`\n${formatSurvivor(survivor)}`)
      results.push(result)
    } catch (err) {
      printError(err)
      failed.push(file)
    }
  }
  return { results, failed }
}

async function withServers<T>(run: () => Promise<T>): Promise<T> {
  const { provided, stop } = await startServers()
  process.env.MUTATE_PROVIDED = JSON.stringify(provided)
  try {
    return await run()
  } finally {
    // A mutant may leave a file or a process behind, and that is no fault of a test.
    await stop().catch((err: unknown) => printError(err))
  }
}

async function runFile(file: string, tests: readonly string[]): Promise<FileResult> {
  const startedAt = performance.now()
  // Stryker takes a second to load, and --help does not need it.
  const { runMutants } = await import('./run-mutants.ts')
  const folder = openFolder()
  try {
    const found = await runMutants(file, tests, path.join(folder, 'stryker'))
    const mutants = await checkTypes(file, found, path.join(folder, 'types'))
    return { file, tests, mutants, seconds: (performance.now() - startedAt) / 1000 }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Removes what killed runs have left. */
function openFolder(): string {
  mkdirSync(PARENT, { recursive: true })
  for (const name of readdirSync(PARENT)) {
    const pid = FOLDER.exec(name)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(path.join(PARENT, name), { recursive: true })
  }
  return path.join(PARENT, `mutate-${process.pid}`)
}

/** Whether each file reaches the threshold. */
function report(results: readonly FileResult[], { thresholdPercent, jsonFile }: MutateOptions): boolean {
  const scores = results.map(scoreOf)
  const survivors = results.flatMap(survivorsOf)
  const stale = staleEntries(
    survivors,
    results.map(({ file }) => file),
  )
  for (const { line, change } of stale)
    print(`\nmutate/accepted.ts names a mutant that is noticed, or is no more:\n  ${line}\n  ${change}`)
  print(`\n${formatScores(scores, thresholdPercent)}`)
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify({ scores, survivors }, null, 2)}\n`)
  return scores.every(({ percent }) => percent >= thresholdPercent)
}

function print(text: string): 0 {
  process.stdout.write(`${text}\n`)
  return 0
}

function printError(err: unknown, hint = ''): void {
  process.stderr.write(`mutate: ${err instanceof Error ? err.message : String(err)}${hint}\n`)
}

const { signal, dispose } = listenForSignals()
process.once('exit', () =>
  rmSync(path.join(PARENT, `mutate-${process.pid}`), { recursive: true, force: true }),
)
try {
  process.exitCode = await main(process.argv.slice(2), signal)
} catch (err) {
  const isUsage =
    err instanceof UsageError ||
    (err instanceof Error && 'code' in err && String(err.code).startsWith('ERR_PARSE_ARGS_'))
  printError(err, isUsage ? '\nSee npm run mutate -- --help.' : '')
  process.exitCode = isUsage ? 2 : 1
} finally {
  if (signal.aborted) process.exitCode = signal.reason === 'SIGTERM' ? EXIT_CODES.SIGTERM : EXIT_CODES.SIGINT
  dispose()
}
