/** `graphile-worker`, worker: with the batching that its page on performance gives as a starting point. */
import { Logger, run } from 'graphile-worker'
import { createAppPool } from './app-pool.ts'
import { type AppEvent, storeEvent } from './app-store.ts'

const CONCURRENT_JOBS = 10
const BATCH_DELAY_MS = 25

const pool = createAppPool()
const runner = await run({
  preset: {
    worker: {
      connectionString: process.env.DATABASE_URL,
      concurrentJobs: CONCURRENT_JOBS,
      maxPoolSize: CONCURRENT_JOBS + 2,
      localQueue: { size: CONCURRENT_JOBS + 1 },
      completeJobBatchDelay: BATCH_DELAY_MS,
      failJobBatchDelay: BATCH_DELAY_MS,
    },
  },
  // Its own writes a line for each job.
  logger: new Logger(() => () => {}),
  noHandleSignals: true,
  taskList: { store_event: (payload) => storeEvent(pool, payload as AppEvent) },
})
process.once('SIGTERM', () => void runner.stop().then(() => pool.end()))
process.stdout.write('ready\n')
