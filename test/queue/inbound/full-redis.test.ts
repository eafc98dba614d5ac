/** At `maxmemory`: nothing can be added any more, and what is there is worked off. */
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

  test('takes no job, and says so', async () => {
    await fillUp()

    await expect(inbound.add([inboundJob('wamid.A')])).rejects.toThrow('OOM')
  })

  test('gives and ends the jobs that it has', async () => {
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
        recovery: { intervalMs: 1_000, maxLosses: 1 },
        keepCompleted: KEPT,
      }),
      holdIntervalMs: 1_000,
      recoverIntervalMs: 1_000,
    })
    consumer.run()
    cleanUp(() => consumer.close())

    await eventually(async () => expect(await inbound.queue.getCompletedCount()).toBe(200))
    expect(ran.sort()).toEqual(jobs.map(({ job_id }) => job_id).sort())
  })

  test('leaves jobs to whoever holds them, and gives back those of whoever is gone', async () => {
    await inbound.add([inboundJob('wamid.gone'), inboundJob('wamid.held')])
    const open = () =>
      inbound.openJobs({
        lockMs: 300,
        recovery: { intervalMs: 100, maxLosses: 10 },
        keepCompleted: KEPT,
      })
    const [gone, holding] = [open(), open()]
    await gone.take(1)
    await holding.take(1)
    await fillUp()

    await eventually(async () => {
      await holding.hold()
      await holding.recover()
      expect(await inbound.queue.getWaitingCount()).toBe(1)
    })
    expect((await holding.take(2)).map(({ id }) => id)).toEqual(['wamid.gone'])
  })
})
