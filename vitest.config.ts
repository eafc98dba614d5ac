import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const SECOND = 1000
/** Folders whose files take longest: begun last, they would run alone at the end. */
const LONG = ['/test/bench/', '/test/chaos/', '/test/e2e/', '/test/local/']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONG.findIndex((folder) => moduleId.includes(folder))
      return index === -1 ? LONG.length : index
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup-file.ts'],
    // Every test file has its own process, database and Redis database number, so files can run side by side. They
    // mostly wait for servers: one more than there are cores pays off.
    pool: 'forks',
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    testTimeout: 60 * SECOND,
    hookTimeout: 60 * SECOND,
    teardownTimeout: 20 * SECOND,
  },
})
