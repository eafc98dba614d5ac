import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

const SECOND = 1000

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/setup-file.ts'],
    // Every test file has its own process, database and Redis database number, so files can run side by side. They
    // mostly wait for servers: two at a time pay off on a single core as well.
    pool: 'forks',
    maxWorkers: Math.max(2, availableParallelism()),
    testTimeout: 60 * SECOND,
    hookTimeout: 60 * SECOND,
    teardownTimeout: 20 * SECOND,
  },
})
