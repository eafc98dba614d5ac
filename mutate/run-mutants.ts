/** Runs Stryker on one file. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Stryker } from '@stryker-mutator/core'

const SECOND = 1000

/**
 * Tests of these wait for nothing, so one that lasts has met a mutant that never answers. To let vitest end it costs less than
 * to let Stryker kill the process.
 */
const PURE = /^src\/(?:core|providers|variables|logger)\//

/** `types`: the type checker refuses it, so it needs no test. */
export type Outcome = 'noticed' | 'too slow' | 'survived' | 'not reached' | 'types'

export type Mutant = {
  outcome: Outcome
  /** From 1. */
  line: number
  column: number
  /** Half-open range of characters of the file. */
  range: readonly [start: number, end: number]
  replacement: string
}

type StrykerOptions = ConstructorParameters<typeof Stryker>[0]
type StrykerResult = Awaited<ReturnType<Stryker['runMutationTest']>>[number]

const OUTCOMES: Partial<Record<StrykerResult['status'], Outcome>> = {
  Killed: 'noticed',
  // The test run failed outside of a test: an error that nobody caught, or a file that cannot be loaded.
  RuntimeError: 'noticed',
  Timeout: 'too slow',
  Survived: 'survived',
  NoCoverage: 'not reached',
}

/**
 * Stryker copies the project into `folder`, with a link to node_modules, puts all mutants of the file into the copy, learns
 * from one run which test reaches which mutant, and then switches them on one after another.
 * @throws when a test fails without any mutant
 */
export async function runMutants(file: string, tests: readonly string[], folder: string): Promise<Mutant[]> {
  process.env.MUTATE_TESTS = tests.join(',')
  process.env.MUTATE_TEST_TIMEOUT_MS = PURE.test(file) ? String(5 * SECOND) : ''
  const stryker = new Stryker({
    mutate: [file],
    testRunner: 'vitest',
    plugins: ['@stryker-mutator/vitest-runner'],
    vitest: {
      configFile: path.join(import.meta.dirname, 'vitest.config.ts'),
      // A worker thread could neither change its directory nor be ended in a loop.
      pool: 'forks',
      // MUTATE_TESTS says which tests; a test may reach a file through HTTP.
      related: false,
    },
    coverageAnalysis: 'perTest',
    concurrency: 1,
    timeoutMS: 5 * SECOND,
    // A busy machine must not look like a mutant that never ends.
    timeoutFactor: 2,
    dryRunTimeoutMinutes: 10,
    tempDirName: folder,
    cleanTempDir: 'always',
    ignorePatterns: ['/bench', '/chaos', '/docs', '/.data', '/.vitest', '*.log'],
    // Stryker would read it with an interface that TypeScript 7 does not have; there is nothing in it to adapt.
    tsconfigFile: 'none.json',
    reporters: [process.stdout.isTTY ? 'progress' : 'progress-append-only'],
    logLevel: 'error' as NonNullable<StrykerOptions['logLevel']>,
    warnings: false,
    allowEmpty: true,
  })
  const results = await stryker.runMutationTest()
  const text = readFileSync(file, 'utf8')
  return results.map((result) => toMutant(result, text))
}

function toMutant({ status, location: { start, end }, replacement }: StrykerResult, text: string): Mutant {
  const outcome = OUTCOMES[status]
  if (outcome === undefined || replacement === undefined)
    throw new Error(`Stryker has ended with a mutant in line ${start.line} that is ${status}`)
  const range = [offsetOf(start, text), offsetOf(end, text)] as const
  return { outcome, line: start.line, column: start.column, range, replacement }
}

function offsetOf({ line, column }: { line: number; column: number }, text: string): number {
  const before = text.split('\n').slice(0, line - 1)
  return before.reduce((sum, { length }) => sum + length + 1, column - 1)
}
