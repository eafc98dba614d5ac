/** `bullmq-plain`, worker: one insert for each job, with the concurrency of BullMQ's guide. */
import { Worker } from 'bullmq'
import { createAppPool } from './app-pool.ts'
import { storeEvent } from './app-store.ts'

const pool = createAppPool()
const worker = new Worker('messages', async (job) => storeEvent(pool, job.data), {
  connection: { url: process.env.REDIS_URL ?? '' },
  concurrency: 50,
})
worker.on('error', () => {})
await worker.waitUntilReady()
process.once('SIGTERM', () => void worker.close().then(() => pool.end()))
process.stdout.write('ready\n')
