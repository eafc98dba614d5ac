import { availableParallelism } from 'node:os'
import path from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const SECOND = 1000
/** Each process loads the dependencies anew: with the cache of an earlier one, Node need not compile them again. */
process.env.NODE_COMPILE_CACHE ??= path.join(import.meta.dirname, 'node_modules', '.cache', 'vitest')
/** The files that take longest, that one first, and then the folders: begun last, they would run alone at the end. */
const LONGEST = [
  '/test/bench/quick-run',
  '/test/e2e/faults.',
  '/test/e2e/hanging-provider.',
  '/test/e2e/send.',
  '/test/db/adopt/refusal.',
  '/test/e2e/hostile.',
  '/test/contract/queue.',
  '/test/chaos/short-form.',
  '/test/worker/send-worker.',
  '/test/db/dedupe/guard.',
  '/test/db/dedupe/shapes.',
  '/test/e2e/api-consumer.',
  '/test/local/embedded-postgres.',
  '/test/db/adopt/adopt.',
  '/test/e2e/half-open.',
  '/test/db/contacts/contact-race.',
  '/test/queue/postgres-worker-repairs.',
  '/test/local/',
  '/test/worker/copy-to-provider.',
  '/test/cli/simulate.',
  '/test/e2e/',
  '/test/browser/',
  '/test/support/interrupted-run.',
  '/test/contract/',
  '/test/cli/',
  '/test/db/',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((part) => moduleId.includes(part))
      return index === -1 ? LONGEST.length : index
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup-file.ts'],
    // Every test file has its own database and Redis database number, so files can run side by side. They often wait for
    // servers: one more than there are cores pays off.
    pool: 'forks',
    // A process runs one file after the other. To load the modules anew for each file took a fifth of the CPU of the suite.
    // What a file changes in the process it therefore puts back at its end, as clean-up.ts does.
    isolate: false,
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    expect: { poll: { timeout: 20 * SECOND } },
    testTimeout: 60 * SECOND,
    hookTimeout: 60 * SECOND,
    teardownTimeout: 20 * SECOND,
  },
})
