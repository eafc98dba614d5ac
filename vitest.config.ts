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
    // Time-outs are part of what is tested, and a machine that does something else meanwhile misses them. What needed its
    // second try says so in the output.
    retry: 1,
    testTimeout: 60 * SECOND,
    hookTimeout: 60 * SECOND,
    teardownTimeout: 20 * SECOND,
  },
})
