/** The scripts beside BullMQ itself, on the same jobs: whatever one of them leaves, the other goes on with. */
import { type Job, type Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { beforeEach, expect, test } from 'vitest'
import type { AddJobs } from '../../../src/queue/inbound/add-jobs.ts'
import type { InboundJobs } from '../../../src/queue/inbound/inbound-jobs.ts'
import { QUEUE_PREFIX } from '../../../src/queue/names.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { eventually } from '../../support/eventually.ts'
import { type InboundQueue, inboundJob, openInboundQueue } from '../../support/inbound-queue.ts'
import { describeWithRedis } from '../../support/redis.ts'

const LOCK_MS = 300
const INTERVAL_MS = 100

describeWithRedis('inbound jobs on Redis', () => {
  let client: Redis
  let queue: Queue
  let add: AddJobs
  let inbound: InboundQueue

  beforeEach(async () => {
    inbound = await openInboundQueue()
    ;({ client, queue, add } = inbound)
  })

  type OpenOptions = { age?: number; count?: number; maxLosses?: number; lockMs?: number; client?: Redis }

  function openJobs({
    age = 3600,
    count = 1000,
    maxLosses = 10,
    lockMs = LOCK_MS,
    client,
  }: OpenOptions = {}): InboundJobs {
    return inbound.openJobs({
      ...(client === undefined ? {} : { client }),
      lockMs,
      recovery: { intervalMs: INTERVAL_MS, maxLosses },
      keepCompleted: { age, count },
    })
  }

  /** A connection that breaks after a script has run and before its answer is there. `after`: so many good ones. */
  function losingClient({ after = 0 } = {}): { client: Redis; loseNextAnswer: () => void } {
    let isLosing = false
    let left = after
    const client = new Proxy(inbound.connect(), {
      get: (redis, name) => {
        const member = Reflect.get(redis, name, redis)
        if (typeof member !== 'function') return member
        return async (...args: unknown[]) => {
          const answer: unknown = await Reflect.apply(member, redis, args)
          if (!isLosing || left-- > 0) return answer
          isLosing = false
          throw new Error('Connection is closed.')
        }
      },
    })
    return {
      client,
      loseNextAnswer: () => {
        isLosing = true
      },
    }
  }

  /** Sends everything twice, and gives the second answer: as one that has lost the first. */
  function repeatingClient(): Redis {
    return new Proxy(inbound.connect(), {
      get: (redis, name) => {
        const member = Reflect.get(redis, name, redis)
        if (typeof member !== 'function') return member
        return async (...args: unknown[]) => {
          await Reflect.apply(member, redis, args)
          return Reflect.apply(member, redis, args)
        }
      },
    })
  }

  function startWorker(process: (job: Job) => Promise<unknown>): Worker {
    const worker = new Worker('inbound', process, {
      prefix: QUEUE_PREFIX,
      connection: inbound.connect(),
      lockDuration: LOCK_MS,
      stalledInterval: INTERVAL_MS,
      maxStalledCount: 10,
    })
    worker.on('error', () => {})
    cleanUp(() => worker.close(true))
    return worker
  }

  const ids = (jobs: readonly { id: string }[]) => jobs.map(({ id }) => id)
  const completed = (...of: string[]) =>
    of.map((id) => ({ id, verdict: 'completed', value: '"stored"' }) as const)

  test('a job has the fields that BullMQ gives it', async () => {
    await queue.add('message', { a: 1 }, { jobId: 'wamid.theirs' })
    await add([inboundJob('wamid.ours')])

    const theirs = await client.hgetall(`${QUEUE_PREFIX}:inbound:wamid.theirs`)
    const ours = await client.hgetall(`${QUEUE_PREFIX}:inbound:wamid.ours`)
    expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort())
    expect(ours).toMatchObject({ name: 'message', delay: theirs.delay, priority: theirs.priority })
  })

  test("BullMQ's worker runs what was added, in its order", async () => {
    await add([inboundJob('wamid.A'), inboundJob('wamid.B')])
    await add([inboundJob('wamid.C')])
    const ran: unknown[] = []

    startWorker(async ({ id, data }) => void ran.push({ job_id: id, event: data }))

    await eventually(() =>
      expect(ran).toEqual([inboundJob('wamid.A'), inboundJob('wamid.B'), inboundJob('wamid.C')]),
    )
  })

  test("BullMQ's worker hears of a job that is added while it waits", async () => {
    const ran: string[] = []
    const worker = startWorker(async ({ id }) => void ran.push(String(id)))
    await worker.waitUntilReady()
    await eventually(async () => expect(await client.client('LIST')).toContain('cmd=bzpopmin'))

    await add([inboundJob('wamid.A')])

    await eventually(() => expect(ran).toEqual(['wamid.A']), { timeoutMs: 2_000 })
  })

  test('what BullMQ added is taken in its order, up to the number asked for', async () => {
    for (const id of ['wamid.A', 'wamid.B', 'wamid.C']) await queue.add('message', { of: id }, { jobId: id })
    const jobs = openJobs()

    expect(await jobs.take(2)).toEqual([
      { id: 'wamid.A', data: { of: 'wamid.A' } },
      { id: 'wamid.B', data: { of: 'wamid.B' } },
    ])
    expect(ids(await jobs.take(2))).toEqual(['wamid.C'])
    expect(await jobs.take(2)).toEqual([])
    expect(await queue.getJobCounts('wait', 'active')).toEqual({ wait: 0, active: 3 })
  })

  test('a large batch is cut by its bytes, and never to nothing', async () => {
    const payload = 'x'.repeat(700 * 1024)
    await add([inboundJob('wamid.A', payload), inboundJob('wamid.B', payload), inboundJob('wamid.C')])
    const jobs = openJobs({ lockMs: 60_000 })

    expect(ids(await jobs.take(10))).toEqual(['wamid.A'])
    expect(ids(await jobs.take(10))).toEqual(['wamid.B', 'wamid.C'])
  })

  test('a settled job looks to BullMQ as if its own worker had run it', async () => {
    await add([inboundJob('wamid.A'), inboundJob('wamid.B')])
    const jobs = openJobs()
    await jobs.take(2)

    await jobs.settle([...completed('wamid.A'), { id: 'wamid.B', verdict: 'failed', value: 'no' }], 0)

    const [a, b] = [await queue.getJob('wamid.A'), await queue.getJob('wamid.B')]
    expect(await a?.getState()).toBe('completed')
    expect(a).toMatchObject({ returnvalue: 'stored', attemptsMade: 1, attemptsStarted: 1 })
    expect(a?.finishedOn).toBeGreaterThanOrEqual(a?.processedOn ?? Infinity)
    expect(await b?.getState()).toBe('failed')
    expect(b).toMatchObject({ failedReason: 'no', attemptsMade: 1 })
    expect(await queue.getActiveCount()).toBe(0)
  })

  test('settling takes the next jobs in the same call', async () => {
    await add([inboundJob('wamid.A'), inboundJob('wamid.B')])
    const jobs = openJobs()
    await jobs.take(1)

    expect(ids(await jobs.settle(completed('wamid.A'), 1))).toEqual(['wamid.B'])
  })

  test('what goes back is next again, in its order, and has used up no attempt', async () => {
    await add(['A', 'B', 'C'].map((name) => inboundJob(`wamid.${name}`)))
    const jobs = openJobs()
    await jobs.take(2)

    await jobs.settle(
      ['wamid.A', 'wamid.B'].map((id) => ({ id, verdict: 'back', value: '' }) as const),
      0,
    )

    expect((await queue.getJob('wamid.A'))?.attemptsMade).toBe(0)
    expect(ids(await jobs.take(3))).toEqual(['wamid.A', 'wamid.B', 'wamid.C'])
  })

  test.each([
    ['waiting', 0],
    ['active', 1],
    ['completed', 2],
  ])('a duplicate of a job that is %s is dropped and counted', async (_state, steps) => {
    expect(await add([inboundJob('wamid.A')])).toBe(0)
    const jobs = openJobs()
    if (steps > 0) await jobs.take(1)
    if (steps > 1) await jobs.settle(completed('wamid.A'), 0)

    expect(
      await add([inboundJob('wamid.A', '{"other":1}'), inboundJob('wamid.B'), inboundJob('wamid.B')]),
    ).toBe(2)

    expect((await queue.getJob('wamid.A'))?.data).toEqual(inboundJob('wamid.A').event)
    expect(await queue.getWaitingCount()).toBe(steps === 0 ? 2 : 1)
  })

  test('a forgotten job leaves nothing', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs()
    await jobs.take(1)

    await jobs.settle([{ id: 'wamid.A', verdict: 'forgotten', value: '' }], 0)

    expect(await client.keys('*wamid*')).toEqual([])
    expect(await queue.getJobCounts('active', 'completed')).toEqual({ active: 0, completed: 0 })
  })

  test('no more completed jobs are kept than asked for, the latest of them', async () => {
    const jobs = openJobs({ count: 3 })
    for (const name of ['A', 'B', 'C', 'D', 'E']) {
      await add([inboundJob(`wamid.${name}`)])
      await jobs.take(1)
      await jobs.settle(completed(`wamid.${name}`), 0)
    }

    expect((await client.keys('*:wamid.*')).sort()).toEqual(
      ['C', 'D', 'E'].map((name) => `${QUEUE_PREFIX}:inbound:wamid.${name}`),
    )
    expect(await queue.getCompletedCount()).toBe(3)
  })

  test('no completed job is kept for longer than asked for', async () => {
    const jobs = openJobs({ age: 60 })
    await add([inboundJob('wamid.old'), inboundJob('wamid.new')])
    await jobs.take(2)
    await jobs.settle(completed('wamid.old'), 0)
    await client.zadd(`${QUEUE_PREFIX}:inbound:completed`, Date.now() - 61_000, 'wamid.old')

    await jobs.settle(completed('wamid.new'), 0)

    expect(await client.keys('*:wamid.*')).toEqual([`${QUEUE_PREFIX}:inbound:wamid.new`])
  })

  test('jobs of a consumer that is gone are put back, and those of one that holds them are not', async () => {
    await add([inboundJob('wamid.gone'), inboundJob('wamid.held')])
    const [gone, holding] = [openJobs(), openJobs()]
    await gone.take(1)
    await holding.take(1)

    await eventually(async () => {
      await holding.hold()
      await holding.recover()
      expect(await queue.getWaitingCount()).toBe(1)
    })

    expect(ids(await holding.take(2))).toEqual(['wamid.gone'])
    expect((await queue.getJob('wamid.gone'))?.stalledCounter).toBe(1)
    expect((await queue.getJob('wamid.held'))?.stalledCounter).toBe(0)
  })

  test('jobs in an answer that was lost are put back, while their consumer goes on with others', async () => {
    await add([inboundJob('wamid.known'), inboundJob('wamid.lost')])
    const { client: losing, loseNextAnswer } = losingClient()
    const jobs = openJobs({ client: losing })
    await jobs.take(1)
    loseNextAnswer()
    await expect(jobs.take(1)).rejects.toThrow('Connection is closed.')

    await eventually(async () => {
      await jobs.hold()
      await jobs.recover()
      expect(ids(await jobs.take(2))).toEqual(['wamid.lost'])
    })
  })

  test('what is sent twice takes jobs once, and they are put back, while their consumer goes on with others', async () => {
    await add(['A', 'B', 'C'].map((name) => inboundJob(`wamid.${name}`)))
    const jobs = openJobs({ client: repeatingClient() })

    expect(await jobs.take(1)).toEqual([])
    expect(await jobs.settle([], 1)).toEqual([])

    const other = openJobs({ lockMs: 60_000 })
    expect(ids(await other.take(3))).toEqual(['wamid.C'])
    await eventually(async () => {
      await jobs.hold()
      await jobs.recover()
      expect(await queue.getWaitingCount()).toBe(2)
    })
  })

  test('what a call has taken before it failed is worked on, and the rest put back', async () => {
    const all = Array.from({ length: 100 }, (_, i) => inboundJob(`wamid.${i}`))
    await add(all)
    const { client: losing, loseNextAnswer } = losingClient({ after: 1 })
    const jobs = openJobs({ client: losing })
    loseNextAnswer()

    const taken = ids(await jobs.take(100))

    const rest: string[] = []
    await eventually(async () => {
      await jobs.hold()
      await jobs.recover()
      rest.push(...ids(await jobs.take(100)))
      expect(rest).toHaveLength(100 - taken.length)
    })
    expect(taken.length).toBeGreaterThan(0)
    expect([...taken, ...rest]).toEqual(ids(all.map(({ job_id }) => ({ id: job_id }))))
  })

  test("what BullMQ's worker held when it died is put back", async () => {
    await add([inboundJob('wamid.A')])
    const worker = startWorker(() => new Promise(() => {}))
    await eventually(async () => expect(await queue.getActiveCount()).toBe(1))
    await worker.close(true)
    const jobs = openJobs()

    await eventually(async () => {
      await jobs.recover()
      expect(ids(await jobs.take(1))).toEqual(['wamid.A'])
    })
  })

  test("what our consumer held when it died is run by BullMQ's worker", async () => {
    await add([inboundJob('wamid.A')])
    await openJobs().take(1)
    const ran: string[] = []

    startWorker(async ({ id }) => void ran.push(String(id)))

    await eventually(() => expect(ran).toEqual(['wamid.A']))
  })

  test('a job that loses its consumer too often comes with the reason to fail it', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs({ maxLosses: 0 })
    await jobs.take(1)

    await eventually(async () => {
      await jobs.recover()
      expect(await jobs.take(1)).toMatchObject([{ failedAs: 'job stalled more than allowable limit' }])
    })
    await jobs.settle(
      [{ id: 'wamid.A', verdict: 'failed', value: 'job stalled more than allowable limit' }],
      0,
    )
    await (await queue.getJob('wamid.A'))?.retry('failed')

    expect((await jobs.take(1))[0]).not.toHaveProperty('failedAs')
  })

  test('a job that somebody else has taken meanwhile is left to him', async () => {
    await add([inboundJob('wamid.A')])
    const [late, other] = [openJobs(), openJobs({ lockMs: 60_000 })]
    await late.take(1)
    await eventually(async () => {
      await other.recover()
      expect(ids(await other.take(1))).toEqual(['wamid.A'])
    })

    await late.settle(completed('wamid.A'), 0)
    expect(await queue.getActiveCount()).toBe(1)
    await other.settle(completed('wamid.A'), 0)

    expect(await queue.getJobCounts('active', 'completed')).toEqual({ active: 0, completed: 1 })
  })

  test('a job whose lock has run out unnoticed can still be ended', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs()
    await jobs.take(1)
    await eventually(async () => expect(await client.keys('*:taken:*')).toEqual([]))

    await jobs.settle(completed('wamid.A'), 0)

    expect(await queue.getCompletedCount()).toBe(1)
  })

  test('a job that Redis has evicted comes without data', async () => {
    await add([inboundJob('wamid.A'), inboundJob('wamid.B')])
    await client.del(`${QUEUE_PREFIX}:inbound:wamid.A`)

    expect(await openJobs().take(2)).toEqual([
      { id: 'wamid.A', data: {} },
      { id: 'wamid.B', data: inboundJob('wamid.B').event },
    ])
  })

  test('the scripts are known again after Redis has forgotten them', async () => {
    const jobs = openJobs()
    await add([inboundJob('wamid.A')])
    await client.script('FLUSH')

    await add([inboundJob('wamid.B')])

    expect(ids(await jobs.take(2))).toEqual(['wamid.A', 'wamid.B'])
  })

  test('two who take at the same time never get the same job', async () => {
    await add(Array.from({ length: 500 }, (_, i) => inboundJob(`wamid.${i}`)))
    const takers = Array.from({ length: 8 }, () => openJobs({ lockMs: 60_000 }))

    const taken = await Promise.all(Array.from({ length: 80 }, (_, i) => takers[i % 8]?.take(10)))

    const all = taken.flatMap((jobs) => ids(jobs ?? []))
    expect(all).toHaveLength(500)
    expect(new Set(all).size).toBe(500)
  })
})
