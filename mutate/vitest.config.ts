/**
 * The project's own vitest.config.ts, for the test files in MUTATE_TESTS in that order. The servers run already: main.ts
 * has started them, and MUTATE_PROVIDED is what they give the tests. Stryker starts vitest in a copy of the project, which is
 * the current directory.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ViteUserConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const SECOND = 1000

const tests = (process.env.MUTATE_TESTS ?? '').split(',')
const { default: base } = (await import(pathToFileURL(path.resolve('vitest.config.ts')).href)) as {
  default: ViteUserConfig
}

class InTheGivenOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => tests.findIndex((file) => moduleId.endsWith(`/${file}`))
    return files.toSorted((a, b) => rank(a) - rank(b))
  }
}

// Ends with the process that started this one, also when that one was killed.
process.on('disconnect', () => process.exit(1))

export default {
  ...base,
  test: {
    ...base.test,
    include: tests,
    globalSetup: [],
    // A mutant in code that runs when its module is loaded has to be loaded.
    isolate: true,
    provide: JSON.parse(process.env.MUTATE_PROVIDED ?? '{}'),
    sequence: { ...base.test?.sequence, sequencer: InTheGivenOrder },
    testTimeout: Number(process.env.MUTATE_TEST_TIMEOUT_MS) || (base.test?.testTimeout ?? 5 * SECOND),
    teardownTimeout: SECOND,
  },
} satisfies ViteUserConfig
