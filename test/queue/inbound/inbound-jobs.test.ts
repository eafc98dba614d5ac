/** Our scripts and BullMQ on the same jobs: each goes on with the state that the other leaves. */
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

  type OpenOptions = { age?: number; count?: number; maxCount?: number; lockMs?: number; client?: Redis }

  function openJobs({
    age = 3600,
    count = 1000,
    maxCount = 10,
    lockMs = LOCK_MS,
    client,
  }: OpenOptions = {}): InboundJobs {
    return inbound.openJobs({
      ...(client === undefined ? {} : { client }),
      lockMs,
      stalled: { intervalMs: INTERVAL_MS, maxCount },
      keepCompleted: { age, count },
    })
  }

  /** A connection that breaks after a script has run and before its answer arrives. `after`: how many answers still arrive. */
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

  /** A client that sends each command twice and returns the second answer, as if the first was lost. */
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

  function startWorker(process: (job: Job) => Promise<unknown>, { lockDuration = LOCK_MS } = {}): Worker {
    const worker = new Worker('inbound', process, {
      prefix: QUEUE_PREFIX,
      connection: inbound.connect(),
      lockDuration,
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

  test('reserves jobs that BullMQ added in their order, up to the number asked for', async () => {
    for (const id of ['wamid.A', 'wamid.B', 'wamid.C']) await queue.add('message', { of: id }, { jobId: id })
    const jobs = openJobs()

    expect(await jobs.reserve(2)).toEqual([
      { id: 'wamid.A', data: { of: 'wamid.A' } },
      { id: 'wamid.B', data: { of: 'wamid.B' } },
    ])
    expect(ids(await jobs.reserve(2))).toEqual(['wamid.C'])
    expect(await jobs.reserve(2)).toEqual([])
    expect(await queue.getJobCounts('wait', 'active')).toEqual({ wait: 0, active: 3 })
  })

  test('a batch of large jobs is cut by its bytes, but never to nothing', async () => {
    const payload = 'x'.repeat(700 * 1024)
    await add([inboundJob('wamid.A', payload), inboundJob('wamid.B', payload), inboundJob('wamid.C')])
    const jobs = openJobs({ lockMs: 60_000 })

    expect(ids(await jobs.reserve(10))).toEqual(['wamid.A'])
    expect(ids(await jobs.reserve(10))).toEqual(['wamid.B', 'wamid.C'])
  })

  test('a completed or failed job looks to BullMQ as if its own worker had run it', async () => {
    await add([inboundJob('wamid.A'), inboundJob('wamid.B')])
    const jobs = openJobs()
    await jobs.reserve(2)

    await jobs.complete([...completed('wamid.A'), { id: 'wamid.B', verdict: 'failed', value: 'no' }], 0)

    const [a, b] = [await queue.getJob('wamid.A'), await queue.getJob('wamid.B')]
    expect(await a?.getState()).toBe('completed')
    expect(a).toMatchObject({ returnvalue: 'stored', attemptsMade: 1, attemptsStarted: 1 })
    expect(a?.finishedOn).toBeGreaterThanOrEqual(a?.processedOn ?? Infinity)
    expect(await b?.getState()).toBe('failed')
    expect(b).toMatchObject({ failedReason: 'no', attemptsMade: 1 })
    expect(await queue.getActiveCount()).toBe(0)
  })

  test('completing reserves the next jobs in the same call', async () => {
    await add([inboundJob('wamid.A'), inboundJob('wamid.B')])
    const jobs = openJobs()
    await jobs.reserve(1)

    expect(ids(await jobs.complete(completed('wamid.A'), 1))).toEqual(['wamid.B'])
  })

  test('requeued jobs come next, in their order, and have used up no attempt', async () => {
    await add(['A', 'B', 'C'].map((name) => inboundJob(`wamid.${name}`)))
    const jobs = openJobs()
    await jobs.reserve(2)

    await jobs.complete(
      ['wamid.A', 'wamid.B'].map((id) => ({ id, verdict: 'requeued', value: '' }) as const),
      0,
    )

    expect((await queue.getJob('wamid.A'))?.attemptsMade).toBe(0)
    expect(ids(await jobs.reserve(3))).toEqual(['wamid.A', 'wamid.B', 'wamid.C'])
  })

  test('a delayed job is one of BullMQ, has used up no attempt, and comes again when it is due', async () => {
    await add(['A', 'B'].map((name) => inboundJob(`wamid.${name}`)))
    const jobs = openJobs()
    await jobs.reserve(1)

    await jobs.complete([{ id: 'wamid.A', verdict: 'delayed', value: '300' }], 0)

    expect(await queue.getJobCounts('wait', 'active', 'delayed')).toEqual({ wait: 1, active: 0, delayed: 1 })
    expect(await add([inboundJob('wamid.A')])).toBe(1)
    expect(await queue.getJob('wamid.A')).toMatchObject({ attemptsMade: 0, delay: 300 })
    expect(ids(await jobs.reserve(2))).toEqual(['wamid.B'])
    await eventually(async () => expect(ids(await jobs.reserve(2))).toEqual(['wamid.A']))
    expect(await queue.getDelayedCount()).toBe(0)
  })

  test('who waits for jobs is told when a delayed one is due', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs()
    await jobs.reserve(1)
    await jobs.complete([{ id: 'wamid.A', verdict: 'delayed', value: '200' }], 0)
    const startedAt = performance.now()
    const { signal } = new AbortController()
    while ((await jobs.reserve(1)).length === 0) await jobs.wait(signal)

    expect(performance.now() - startedAt).toBeLessThan(2_000)
  })

  test('a job that is requeued twice, because the first answer was lost, waits once', async () => {
    await add([inboundJob('wamid.A')])
    const { client: losing, loseNextAnswer } = losingClient()
    const jobs = openJobs({ client: losing })
    await jobs.reserve(1)
    const requeued = [{ id: 'wamid.A', verdict: 'requeued', value: '' } as const]
    loseNextAnswer()
    await expect(jobs.complete(requeued, 0)).rejects.toThrow('Connection is closed.')

    await jobs.complete(requeued, 0)

    expect(await queue.getJobCounts('wait', 'active')).toEqual({ wait: 1, active: 0 })
  })

  test.each([
    ['waiting', 0],
    ['active', 1],
    ['completed', 2],
  ])('a duplicate of a job that is %s is dropped and counted', async (_state, steps) => {
    expect(await add([inboundJob('wamid.A')])).toBe(0)
    const jobs = openJobs()
    if (steps > 0) await jobs.reserve(1)
    if (steps > 1) await jobs.complete(completed('wamid.A'), 0)

    expect(
      await add([inboundJob('wamid.A', '{"other":1}'), inboundJob('wamid.B'), inboundJob('wamid.B')]),
    ).toBe(2)

    expect((await queue.getJob('wamid.A'))?.data).toEqual(inboundJob('wamid.A').event)
    expect(await queue.getWaitingCount()).toBe(steps === 0 ? 2 : 1)
  })

  test('nothing is reserved while the queue is paused', async () => {
    await queue.pause()
    await add([inboundJob('wamid.A')])
    const jobs = openJobs()

    expect(await jobs.reserve(1)).toEqual([])

    await queue.resume()
    expect(ids(await jobs.reserve(1))).toEqual(['wamid.A'])
  })

  test('a removed job leaves no key', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs()
    await jobs.reserve(1)

    await jobs.complete([{ id: 'wamid.A', verdict: 'removed', value: '' }], 0)

    expect(await client.keys('*wamid*')).toEqual([])
    expect(await queue.getJobCounts('active', 'completed')).toEqual({ active: 0, completed: 0 })
  })

  test('keeps only the latest completed jobs, as many as asked for', async () => {
    const jobs = openJobs({ count: 3 })
    for (const name of ['A', 'B', 'C', 'D', 'E']) {
      await add([inboundJob(`wamid.${name}`)])
      await jobs.reserve(1)
      await jobs.complete(completed(`wamid.${name}`), 0)
    }

    expect((await client.keys('*:wamid.*')).sort()).toEqual(
      ['C', 'D', 'E'].map((name) => `${QUEUE_PREFIX}:inbound:wamid.${name}`),
    )
    expect(await queue.getCompletedCount()).toBe(3)
  })

  test('keeps no completed job for longer than asked for', async () => {
    const jobs = openJobs({ age: 60 })
    await add([inboundJob('wamid.old'), inboundJob('wamid.new')])
    await jobs.reserve(2)
    await jobs.complete(completed('wamid.old'), 0)
    await client.zadd(`${QUEUE_PREFIX}:inbound:completed`, Date.now() - 61_000, 'wamid.old')

    await jobs.complete(completed('wamid.new'), 0)

    expect(await client.keys('*:wamid.*')).toEqual([`${QUEUE_PREFIX}:inbound:wamid.new`])
  })

  test('keeps a completed job for as many seconds as asked for', async () => {
    const jobs = openJobs({ age: 60 })
    await add([inboundJob('wamid.old'), inboundJob('wamid.new')])
    await jobs.reserve(2)
    await jobs.complete(completed('wamid.old'), 0)
    await client.zadd(`${QUEUE_PREFIX}:inbound:completed`, Date.now() - 30_000, 'wamid.old')

    await jobs.complete(completed('wamid.new'), 0)

    expect(await queue.getCompletedCount()).toBe(2)
  })

  test('extends no lock of jobs that are completed', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs()
    await jobs.reserve(1)
    await jobs.complete(completed('wamid.A'), 0)
    await eventually(async () => expect(await client.keys('*:taken:*')).toEqual([]))

    await jobs.extendLocks()

    expect(await client.keys('*:taken:*')).toEqual([])
  })

  test("leaves a job alone that BullMQ's worker runs", async () => {
    await add([inboundJob('wamid.A')])
    startWorker(() => new Promise(() => {}), { lockDuration: 60_000 })
    await eventually(async () => expect(await queue.getActiveCount()).toBe(1))

    const jobs = openJobs()
    for (let call = 0; call < 5; call++) {
      // BullMQ's worker looks for stalled jobs on the same interval; then our call would do nothing.
      await client.del(`${QUEUE_PREFIX}:inbound:stalled-check`)
      await jobs.requeueStalled()
    }

    expect(await queue.getJobCounts('wait', 'active')).toEqual({ wait: 0, active: 1 })
  })

  test('requeues the jobs of a dead consumer, and not those of one that extends its locks', async () => {
    await add([inboundJob('wamid.stalled'), inboundJob('wamid.locked')])
    const [dead, alive] = [openJobs(), openJobs()]
    await dead.reserve(1)
    await alive.reserve(1)

    await eventually(async () => {
      await alive.extendLocks()
      await alive.requeueStalled()
      expect(await queue.getWaitingCount()).toBe(1)
    })

    expect(ids(await alive.reserve(2))).toEqual(['wamid.stalled'])
    expect((await queue.getJob('wamid.stalled'))?.stalledCounter).toBe(1)
    expect((await queue.getJob('wamid.locked'))?.stalledCounter).toBe(0)
  })

  test('requeues the jobs of a lost answer while their consumer goes on with others', async () => {
    await add([inboundJob('wamid.known'), inboundJob('wamid.lost')])
    const { client: losing, loseNextAnswer } = losingClient()
    const jobs = openJobs({ client: losing })
    await jobs.reserve(1)
    loseNextAnswer()
    await expect(jobs.reserve(1)).rejects.toThrow('Connection is closed.')

    await eventually(async () => {
      await jobs.extendLocks()
      await jobs.requeueStalled()
      expect(ids(await jobs.reserve(2))).toEqual(['wamid.lost'])
    })
  })

  test('a command sent twice reserves jobs once, and they are requeued while their consumer goes on with others', async () => {
    await add(['A', 'B', 'C'].map((name) => inboundJob(`wamid.${name}`)))
    const jobs = openJobs({ client: repeatingClient() })

    expect(await jobs.reserve(1)).toEqual([])
    expect(await jobs.complete([], 1)).toEqual([])

    const other = openJobs({ lockMs: 60_000 })
    expect(ids(await other.reserve(3))).toEqual(['wamid.C'])
    await eventually(async () => {
      await jobs.extendLocks()
      await jobs.requeueStalled()
      expect(await queue.getWaitingCount()).toBe(2)
    })
  })

  test('a call that fails halfway returns the jobs reserved before, and the others are requeued', async () => {
    const all = Array.from({ length: 100 }, (_, i) => inboundJob(`wamid.${i}`))
    await add(all)
    const { client: losing, loseNextAnswer } = losingClient({ after: 1 })
    const jobs = openJobs({ client: losing })
    loseNextAnswer()

    const reserved = ids(await jobs.reserve(100))

    const rest: string[] = []
    await eventually(async () => {
      await jobs.extendLocks()
      await jobs.requeueStalled()
      rest.push(...ids(await jobs.reserve(100)))
      expect(rest).toHaveLength(100 - reserved.length)
    })
    expect(reserved.length).toBeGreaterThan(0)
    expect([...reserved, ...rest]).toEqual(ids(all.map(({ job_id }) => ({ id: job_id }))))
  })

  test("requeues the jobs of BullMQ's worker when it dies", async () => {
    await add([inboundJob('wamid.A')])
    const worker = startWorker(() => new Promise(() => {}))
    await eventually(async () => expect(await queue.getActiveCount()).toBe(1))
    await worker.close(true)
    const jobs = openJobs()

    await eventually(async () => {
      await jobs.requeueStalled()
      expect(ids(await jobs.reserve(1))).toEqual(['wamid.A'])
    })
  })

  test("BullMQ's worker runs the jobs of our consumer when it dies", async () => {
    await add([inboundJob('wamid.A')])
    await openJobs().reserve(1)
    const ran: string[] = []

    startWorker(async ({ id }) => void ran.push(String(id)))

    await eventually(() => expect(ran).toEqual(['wamid.A']))
  })

  test('a job may stall as often as asked for', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs({ maxCount: 1 })
    const reserveAfterStall = () =>
      eventually(async () => {
        await jobs.requeueStalled()
        const [job] = await jobs.reserve(1)
        expect(job).toBeDefined()
        return job
      })
    await jobs.reserve(1)

    expect(await reserveAfterStall()).not.toHaveProperty('failedReason')
    expect(await reserveAfterStall()).toHaveProperty('failedReason')
  })

  test('a job that stalls too often is reserved with the reason to fail it', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs({ maxCount: 0 })
    await jobs.reserve(1)

    await eventually(async () => {
      await jobs.requeueStalled()
      expect(await jobs.reserve(1)).toMatchObject([{ failedReason: 'job stalled more than allowable limit' }])
    })
    await jobs.complete(
      [{ id: 'wamid.A', verdict: 'failed', value: 'job stalled more than allowable limit' }],
      0,
    )
    await (await queue.getJob('wamid.A'))?.retry('failed')

    expect((await jobs.reserve(1))[0]).not.toHaveProperty('failedReason')
  })

  test('does not complete a job that another consumer has reserved meanwhile', async () => {
    await add([inboundJob('wamid.A')])
    const [late, other] = [openJobs(), openJobs({ lockMs: 60_000 })]
    await late.reserve(1)
    await eventually(async () => {
      await other.requeueStalled()
      expect(ids(await other.reserve(1))).toEqual(['wamid.A'])
    })

    await late.complete(completed('wamid.A'), 0)
    expect(await queue.getActiveCount()).toBe(1)
    await other.complete(completed('wamid.A'), 0)

    expect(await queue.getJobCounts('active', 'completed')).toEqual({ active: 0, completed: 1 })
  })

  test('completes a job whose lock has expired, as long as no other consumer has reserved it', async () => {
    await add([inboundJob('wamid.A')])
    const jobs = openJobs()
    await jobs.reserve(1)
    await eventually(async () => expect(await client.keys('*:taken:*')).toEqual([]))

    await jobs.complete(completed('wamid.A'), 0)

    expect(await queue.getCompletedCount()).toBe(1)
  })

  test('a job that Redis has evicted is reserved without data', async () => {
    await add([inboundJob('wamid.A'), inboundJob('wamid.B')])
    await client.del(`${QUEUE_PREFIX}:inbound:wamid.A`)

    expect(await openJobs().reserve(2)).toEqual([
      { id: 'wamid.A', data: {} },
      { id: 'wamid.B', data: inboundJob('wamid.B').event },
    ])
  })

  test('a job with damaged data is reserved with its text, and without a reason to fail it', async () => {
    await add([inboundJob('wamid.A')])
    const damage = { data: '{"v":', defa: 'job stalled more than allowable limit' }
    await client.hset(`${QUEUE_PREFIX}:inbound:wamid.A`, damage)

    expect(await openJobs().reserve(1)).toEqual([{ id: 'wamid.A', data: '{"v":' }])
  })

  test('sends a script again when Redis has dropped it from its cache', async () => {
    const jobs = openJobs()
    await add([inboundJob('wamid.A')])
    await client.script('FLUSH')

    await add([inboundJob('wamid.B')])

    expect(ids(await jobs.reserve(2))).toEqual(['wamid.A', 'wamid.B'])
  })

  test('consumers that reserve at the same time never get the same job', async () => {
    await add(Array.from({ length: 500 }, (_, i) => inboundJob(`wamid.${i}`)))
    const consumers = Array.from({ length: 8 }, () => openJobs({ lockMs: 60_000 }))

    const batches = await Promise.all(Array.from({ length: 80 }, (_, i) => consumers[i % 8]?.reserve(10)))

    const all = batches.flatMap((jobs) => ids(jobs ?? []))
    expect(all).toHaveLength(500)
    expect(new Set(all).size).toBe(500)
  })
})
