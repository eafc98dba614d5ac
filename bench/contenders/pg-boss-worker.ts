/**
 * `pg-boss`, worker: woken by NOTIFY, in batches and without a pause while they are full. Its defaults, one job every two
 * seconds, are not made for this.
 */
import { PgBoss } from 'pg-boss'
import { createAppPool } from './app-pool.ts'
import { type AppEvent, storeEvent } from './app-store.ts'

const QUEUE = 'messages'
const BATCH_SIZE = 100

const pool = createAppPool()
const boss = new PgBoss({ connectionString: process.env.DATABASE_URL, useListenNotify: true })
boss.on('error', () => {})
await boss.start()
await boss.createQueue(QUEUE, { notify: true })
await boss.work<AppEvent>(
  QUEUE,
  {
    batchSize: BATCH_SIZE,
    burstWhenBatchFull: true,
    pollingIntervalSeconds: 0.5,
    notifyPollingIntervalSeconds: 0.5,
  },
  async (jobs) => {
    await Promise.all(jobs.map((job) => storeEvent(pool, job.data)))
  },
)
process.once('SIGTERM', () => void boss.stop().then(() => pool.end()))
process.stdout.write('ready\n')
