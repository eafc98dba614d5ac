import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { beforeEach, expect, test } from 'vitest'
import type { InboundConsumer, InboundConsumerOptions } from '../../../src/queue/backend.ts'
import type { AddJobs } from '../../../src/queue/inbound/add-jobs.ts'
import { createBatchConsumer } from '../../../src/queue/inbound/batch-consumer.ts'
import { QUEUE_PREFIX } from '../../../src/queue/names.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { eventually } from '../../support/eventually.ts'
import { type InboundQueue, inboundJob, openInboundQueue } from '../../support/inbound-queue.ts'
import { describeWithRedis } from '../../support/redis.ts'

const LOCK_MS = 500
const INTERVAL_MS = 50

describeWithRedis('a batch consumer', () => {
  let client: Redis
  let queue: Queue
  let add: AddJobs
  let inbound: InboundQueue
  let errors: Error[]

  beforeEach(async () => {
    inbound = await openInboundQueue()
    ;({ client, queue, add } = inbound)
    errors = []
  })

  function consume(
    process: InboundConsumerOptions['process'],
    { concurrency = 100, onFailed = () => {} }: Partial<InboundConsumerOptions> = {},
  ): InboundConsumer {
    const consumer = createBatchConsumer({
      concurrency,
      process,
      onFailed,
      onError: (err) => errors.push(err),
      jobs: inbound.openJobs({
        lockMs: LOCK_MS,
        stalled: { intervalMs: INTERVAL_MS, maxCount: 1 },
        keepCompleted: { age: 3600, count: 1_000 },
      }),
      extendLocksIntervalMs: INTERVAL_MS,
      requeueStalledIntervalMs: INTERVAL_MS,
    })
    consumer.run()
    cleanUp(() => consumer.close())
    return consumer
  }

  const jobs = (count: number) => Array.from({ length: count }, (_, i) => inboundJob(`wamid.${i}`))

  test('runs full batches two at a time, and never more jobs than its concurrency', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    let running = 0
    let most = 0
    await add(jobs(50))
    consume(
      async () => {
        most = Math.max(most, ++running)
        await released
        running--
        return { outcome: 'stored' }
      },
      { concurrency: 8 },
    )

    await eventually(() => expect(running).toBe(8))
    release()

    await eventually(async () => expect(await queue.getCompletedCount()).toBe(50))
    expect(most).toBe(8)
  })

  test('runs two batches at a time again after the queue was empty', async () => {
    let gate = Promise.withResolvers<void>()
    let running = 0
    consume(
      async () => {
        running++
        await gate.promise
        running--
        return { outcome: 'stored' }
      },
      { concurrency: 8 },
    )

    for (const round of [1, 2]) {
      await add(jobs(20).map(({ event }, i) => ({ job_id: `wamid.${round}.${i}`, event })))
      await eventually(() => expect(running).toBe(8))
      gate.resolve()
      await eventually(async () => expect(await queue.getCompletedCount()).toBe(20 * round))
      gate = Promise.withResolvers<void>()
    }
  })

  test('waits for as long as a job asks before it reserves again', async () => {
    const pauseMs = 400
    const ranAt: number[] = []
    await add(jobs(1))

    consume(async () => {
      ranAt.push(performance.now())
      return ranAt.length === 1 ? { outcome: 'retry', pauseMs } : { outcome: 'stored' }
    })

    await eventually(() => expect(ranAt).toHaveLength(2))
    // A timer may fire a millisecond early.
    expect((ranAt[1] ?? 0) - (ranAt[0] ?? 0)).toBeGreaterThan(pauseMs - 5)
  })

  test('with a concurrency of one, runs one job at a time, in their order', async () => {
    const steps: string[] = []
    await add(jobs(3))

    consume(
      async ({ id }) => {
        steps.push(`start ${id}`)
        await client.ping()
        steps.push(`end ${id}`)
        return { outcome: 'stored' }
      },
      { concurrency: 1 },
    )

    await eventually(() =>
      expect(steps).toEqual(['wamid.0', 'wamid.1', 'wamid.2'].flatMap((id) => [`start ${id}`, `end ${id}`])),
    )
  })

  test('keeps the lock of a job that takes longer than the lock lasts', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const ran: string[] = []
    const process = async ({ id }: { id: string }) => {
      ran.push(id)
      await released
      return { outcome: 'stored' } as const
    }
    await add(jobs(1))
    consume(process)
    consume(process)
    await eventually(() => expect(ran).toEqual(['wamid.0']))

    await lookForStalledJobsFor(3 * LOCK_MS)
    release()

    await eventually(async () => expect(await queue.getCompletedCount()).toBe(1))
    expect(ran).toEqual(['wamid.0'])
  })

  test('one bad job of a batch fails alone', async () => {
    const failed: unknown[] = []
    await add(jobs(5))

    consume(
      async ({ id }) => {
        if (id === 'wamid.3') throw new TypeError('not this one')
        return { outcome: 'stored' }
      },
      { onFailed: (err, id) => failed.push([id, err.message]) },
    )

    await eventually(async () =>
      expect(await queue.getJobCounts('completed', 'failed')).toEqual({ completed: 4, failed: 1 }),
    )
    expect(failed).toEqual([['wamid.3', 'not this one']])
  })

  test('a job whose data is damaged holds up no other job', async () => {
    const seen: unknown[] = []
    await add(jobs(40))
    await client.hset(`${QUEUE_PREFIX}:inbound:wamid.20`, 'data', '{"v":1,"kind":"mess')

    consume(async ({ id, data }) => {
      if (id === 'wamid.20') seen.push(data)
      return { outcome: 'stored' }
    })

    await eventually(async () => expect(await queue.getCompletedCount()).toBe(40))
    expect(seen).toEqual(['{"v":1,"kind":"mess'])
    expect(errors).toEqual([])
  })

  test('fails a job that stalled too often without running it', async () => {
    const ran: string[] = []
    await add(jobs(1))
    await client.hset(`${QUEUE_PREFIX}:inbound:wamid.0`, 'defa', 'job stalled more than allowable limit')

    consume(async ({ id }) => {
      ran.push(id)
      return { outcome: 'stored' }
    })

    await eventually(async () => expect(await queue.getFailedCount()).toBe(1))
    expect((await queue.getJob('wamid.0'))?.failedReason).toBe('job stalled more than allowable limit')
    expect(ran).toEqual([])
  })

  test('reports an error of a script, and goes on when the script works again', async () => {
    await client.set(`${QUEUE_PREFIX}:inbound:wait`, 'no list')
    consume(async () => ({ outcome: 'stored' }))
    await eventually(() => expect(errors[0]?.message).toContain('WRONGTYPE'))

    await client.del(`${QUEUE_PREFIX}:inbound:wait`)
    await add(jobs(1))

    await eventually(async () => expect(await queue.getCompletedCount()).toBe(1))
  })

  test('closing waits for the jobs under way, and reserves no more', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    await add(jobs(4))
    let running = 0
    const consumer = consume(
      async () => {
        running++
        await released
        return { outcome: 'stored' }
      },
      { concurrency: 2 },
    )
    await eventually(() => expect(running).toBe(2))

    const closed = consumer.close()
    release()
    await closed

    expect(await queue.getJobCounts('completed', 'active', 'wait')).toEqual({
      completed: 2,
      active: 0,
      wait: 2,
    })
  })

  test('closing waits for both batches, and keeps their locks until then', async () => {
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const firstBatch = ['wamid.0', 'wamid.1']
    let running = 0
    await add(jobs(8))
    const consumer = consume(
      async ({ id }) => {
        running++
        await gates[firstBatch.includes(id) ? 0 : 1]?.promise
        return { outcome: 'stored' }
      },
      { concurrency: 4 },
    )
    await eventually(() => expect(running).toBe(4))
    let isClosed = false
    const closed = consumer.close().then(() => {
      isClosed = true
    })

    const others: string[] = []
    consume(async ({ id }) => {
      others.push(id)
      return { outcome: 'stored' }
    })
    await lookForStalledJobsFor(2 * LOCK_MS)
    expect(others).toEqual(['wamid.4', 'wamid.5', 'wamid.6', 'wamid.7'])
    gates[0]?.resolve()
    await eventually(async () => expect(await queue.getCompletedCount()).toBe(6))
    await lookForStalledJobsFor(2 * LOCK_MS)
    expect(isClosed).toBe(false)
    expect(others).toHaveLength(4)

    gates[1]?.resolve()
    await closed
    expect(await queue.getCompletedCount()).toBe(8)
  })

  test('closing does not wait for jobs to come', async () => {
    const consumer = consume(async () => ({ outcome: 'stored' }))
    await eventually(async () => expect(await client.client('LIST')).toContain('cmd=bzpopmin'))

    expect(await closesSoon(consumer)).toBe(true)
  })

  test('closing before the first answer of Redis does not wait for jobs to come', async () => {
    const consumer = consume(async () => ({ outcome: 'stored' }))

    expect(await closesSoon(consumer)).toBe(true)
  })

  /** Resolves when a consumer has looked for stalled jobs several times, over this time. */
  async function lookForStalledJobsFor(ms: number): Promise<void> {
    const lastLook = async () => Number(await client.get(`${QUEUE_PREFIX}:inbound:stalled-check`))
    const since = Date.now()
    await eventually(async () => expect((await lastLook()) - since).toBeGreaterThan(ms))
  }

  /** Whether it closes within 1.5 s. Redis keeps the command of a waiting consumer open for longer. */
  function closesSoon(consumer: InboundConsumer): Promise<boolean> {
    const closed = consumer.close().then(() => true)
    const late = new Promise<boolean>((resolve) => setTimeout(resolve, 1_500, false).unref())
    return Promise.race([closed, late])
  }
})
