/** Redis at its `maxmemory`: no job can be added, and the jobs in it are reserved and completed. */
import { beforeEach, expect, test } from 'vitest'
import { createBatchConsumer } from '../../../src/queue/inbound/batch-consumer.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { eventually } from '../../support/eventually.ts'
import { type InboundQueue, inboundJob, openInboundQueue } from '../../support/inbound-queue.ts'
import { describeWithRedis, startRedisServer } from '../../support/redis.ts'

const KEPT = { age: 3600, count: 1_000 }

describeWithRedis('a full Redis', () => {
  let inbound: InboundQueue

  beforeEach(async () => {
    const server = await startRedisServer()
    inbound = await openInboundQueue({ redisUrl: server.url })
  })

  const fillUp = () => inbound.client.config('SET', 'maxmemory', '1')

  test('refuses to add a job', async () => {
    await fillUp()

    await expect(inbound.add([inboundJob('wamid.A')])).rejects.toThrow('OOM')
  })

  test('lets a consumer reserve and complete its jobs', async () => {
    const jobs = Array.from({ length: 200 }, (_, i) => inboundJob(`wamid.${i}`))
    await inbound.add(jobs)
    await fillUp()
    const ran: string[] = []
    const consumer = createBatchConsumer({
      concurrency: 20,
      process: async ({ id }) => {
        ran.push(id)
        return { outcome: 'stored' }
      },
      onFailed: () => {},
      onError: () => {},
      jobs: inbound.openJobs({
        lockMs: 5_000,
        stalled: { intervalMs: 1_000, maxCount: 1 },
        keepCompleted: KEPT,
      }),
      extendLocksIntervalMs: 1_000,
      requeueStalledIntervalMs: 1_000,
    })
    consumer.run()
    cleanUp(() => consumer.close())

    await eventually(async () => expect(await inbound.queue.getCompletedCount()).toBe(200))
    expect(ran.sort()).toEqual(jobs.map(({ job_id }) => job_id).sort())
  })

  test('lets a consumer extend its locks, and requeue the jobs of a dead consumer', async () => {
    await inbound.add([inboundJob('wamid.stalled'), inboundJob('wamid.locked')])
    const open = () =>
      inbound.openJobs({
        lockMs: 300,
        stalled: { intervalMs: 100, maxCount: 10 },
        keepCompleted: KEPT,
      })
    const [dead, alive] = [open(), open()]
    await dead.reserve(1)
    await alive.reserve(1)
    await fillUp()

    await eventually(async () => {
      await alive.extendLocks()
      await alive.requeueStalled()
      expect(await inbound.queue.getWaitingCount()).toBe(1)
    })
    expect((await alive.reserve(2)).map(({ id }) => id)).toEqual(['wamid.stalled'])
  })
})
