/** A worker whose queue answers slowly: every command takes a round trip. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'bullmq'
import { expect, test } from 'vitest'
import { QUEUE_PREFIX } from '../../src/queue/names.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { startSlowly } from '../../src/queue/slow-start.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { describeWithRedis, takeRedisUrl } from '../support/redis.ts'

const JOBS = 300

describeWithRedis('a worker with a long queue', () => {
  test('begins with the first jobs before it has fetched all that it may run at a time', async () => {
    const { worker, backlogAtFirstJob, mostAtATime } = await startWorker()
    worker.run().catch(() => {})

    await eventually(async () => expect(mostAtATime()).toBe(JOBS))
    expect(backlogAtFirstJob()).toBeGreaterThan(JOBS / 2)
  })
})

async function startWorker() {
  const url = await takeRedisUrl()
  const redis = { url, clusterNodes: [], sentinels: [] }
  const backend = openRedisBackend({ redis, onError: () => {} })
  cleanUp(() => backend.close())
  const queue = backend.createQueue('inbound')
  await queue.addBulk(
    Array.from({ length: JOBS }, (_, number) => ({
      name: 'message',
      data: {},
      opts: { jobId: `j${number}` },
    })),
  )

  let backlog: number | undefined
  let running = 0
  let most = 0
  const isFull = Promise.withResolvers<void>()
  const worker = startSlowly(
    async () => {
      most = Math.max(most, ++running)
      backlog ??= await queue.getWaitingCount()
      if (most === JOBS) isFull.resolve()
      await Promise.race([isFull.promise, sleep(10_000)])
      running--
    },
    JOBS,
    (run, concurrency) =>
      new Worker('inbound', run, {
        connection: { url, maxRetriesPerRequest: null },
        prefix: QUEUE_PREFIX,
        autorun: false,
        concurrency,
      }),
  )
  worker.on('error', () => {})
  cleanUp(() => worker.close())
  return { worker, backlogAtFirstJob: () => backlog ?? 0, mostAtATime: () => most }
}
