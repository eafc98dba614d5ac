import { type Queue, Worker } from 'bullmq'
import { beforeEach, expect, test } from 'vitest'
import { EVENT_VERSION, type InboundJob, type WebhookEvent } from '../../src/core/event.ts'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { createEventStore, type EventStore } from '../../src/db/ingest/event-store.ts'
import { isEventStored } from '../../src/db/ingest/find-stored.ts'
import { messageIdFinder, normalize, PROVIDERS } from '../../src/providers/index.ts'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { QUEUE_PREFIX } from '../../src/queue/names.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { sweepFailedJobs } from '../../src/worker/failed-job-sweep.ts'
import { createInboundWorker } from '../../src/worker/inbound-worker.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { describeWithRedis, takeRedisUrl, withRedis } from '../support/redis.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const findMessageId = messageIdFinder(PROVIDERS)

const ID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQz'
const HOUR = 3_600_000
const NOTHING = { retried: 0, ranAlone: 0, parked: 0, failed: 0 }

describeWithRedis('the sweep of failed jobs', () => {
  let database: TestDatabase
  let backend: QueueBackend
  let queue: Queue
  let store: EventStore
  let redisUrl: string

  beforeEach(async () => {
    database = await createTestDatabase()
    redisUrl = await takeRedisUrl()
    backend = openRedisBackend({
      redis: { url: redisUrl, clusterNodes: [], sentinels: [] },
      onError: () => {},
    })
    cleanUp(() => backend.close())
    queue = backend.createQueue('inbound')
    store = createEventStore({ db: database.db })
  })

  const sweep = () => sweepFailedJobs({ queue, store, normalize, findMessageId, restMs: 0 })
  const rows = () => database.db.selectFrom('chat_messages').select('wa_message_id').execute()
  const parked = () => database.db.selectFrom('webhook_events').select(['event_key', 'reason']).execute()

  test('retries a job whose reason to fail is over', async () => {
    await queue.add('message', { ...event(), v: 99 }, { jobId: ID })
    const worker = createInboundWorker({
      backend,
      store,
      normalize,
      findMessageId,
      concurrency: 5,
      observer: { onOutcome: () => {}, onPause: () => {}, onFailed: () => {} },
    })
    worker.run()
    await eventually(async () => expect(await queue.getFailedCount()).toBe(1))

    await (await queue.getJob(ID))?.updateData(event())
    expect(await sweep()).toEqual({ ...NOTHING, retried: 1 })

    await eventually(async () => expect(await rows()).toEqual([{ wa_message_id: ID }]))
  })

  test('leaves a job alone that failed a moment ago', async () => {
    await addStalledJob()

    expect(await sweepFailedJobs({ queue, store, normalize, findMessageId, restMs: 60_000 })).toMatchObject({
      ranAlone: 0,
    })
    expect(await queue.getFailedCount()).toBe(1)
  })

  test('runs a job alone that stalled too often, and removes it from the queue', async () => {
    await addStalledJob()

    expect(await sweep()).toEqual({ ...NOTHING, ranAlone: 1 })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
    expect(await queue.getJob(ID)).toBeUndefined()
  })

  test('runs a job alone whose time of failure is hours ahead of the clock', async () => {
    await addStalledJob()

    const now = () => Date.now() - 5 * HOUR
    expect(await sweepFailedJobs({ queue, store, normalize, findMessageId, now })).toMatchObject({
      ranAlone: 1,
    })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
  })

  test('parks a job unread when the process died that ran it alone', async () => {
    await addStalledJob()
    await leaveMarkOfDeadProcess(Date.now())
    const kills = () => {
      throw new Error('it was read')
    }

    expect(await sweepFailedJobs({ queue, store, normalize: kills, findMessageId, restMs: 0 })).toMatchObject(
      { parked: 1 },
    )

    expect(await rows()).toEqual([])
    expect(await parked()).toEqual([{ event_key: ID, reason: 'its worker died each time it was run' }])
    expect(await queue.getJob(ID)).toBeUndefined()
  })

  test('does not park a job that was stored when the process died, before it could remove the job', async () => {
    await addStalledJob()
    await leaveMarkOfDeadProcess(Date.now())
    await store.storeAlone({ job_id: ID, event: event(), fact: normalize(event()) })
    const isStored = (job: InboundJob) => isEventStored(database.db, job)

    expect(await sweepFailedJobs({ queue, store, normalize, findMessageId, isStored, restMs: 0 })).toEqual({
      ...NOTHING,
      ranAlone: 1,
    })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
    expect(await parked()).toEqual([])
    expect(await queue.getJob(ID)).toBeUndefined()
  })

  test('does not park a job that has just begun to run alone', async () => {
    await addStalledJob()
    const now = () => Date.now() + HOUR
    await leaveMarkOfDeadProcess(now())

    expect(await sweepFailedJobs({ queue, store, normalize, findMessageId, now })).toEqual(NOTHING)

    expect(await parked()).toEqual([])
  })

  test('does not park a job that ran alone while the database was away', async () => {
    await addStalledJob()
    const relay = await startTcpProxy(database.url)
    const db = createDatabase(createPool({ url: relay.url, applicationName: 'test' }))
    cleanUp(() => db.destroy())
    const storeThere = createEventStore({ db })
    const sweepThere = () =>
      sweepFailedJobs({ queue, store: storeThere, normalize, findMessageId, restMs: 0 })
    await relay.takeDown()
    expect(await sweepThere()).toEqual(NOTHING)
    expect(await sweepThere()).toEqual(NOTHING)
    await relay.bringUp()

    expect(await sweepThere()).toEqual({ ...NOTHING, ranAlone: 1 })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
    expect(await parked()).toEqual([])
  })

  test('does not park a job that ran alone and threw, because the process survived', async () => {
    await addStalledJob()
    const defect = new TypeError('no such property')
    const throwing = () => {
      throw defect
    }

    const broken = await sweepFailedJobs({ queue, store, normalize: throwing, findMessageId, restMs: 0 })
    expect(broken).toEqual({ ...NOTHING, failed: 1, cause: defect })
    expect(await sweep()).toEqual({ ...NOTHING, ranAlone: 1 })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
  })

  test('leaves a job of an unknown version as it is, and runs the jobs behind it', async () => {
    const unknown = { ...event(), v: 99 }
    await addStalledJob('wamid.older', unknown)
    await addStalledJob()

    expect(await sweep()).toMatchObject({ ranAlone: 1, parked: 0, failed: 1 })
    expect(await sweep()).toMatchObject({ ...NOTHING, failed: 1 })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
    expect((await queue.getJob('wamid.older'))?.data).toEqual(unknown)
  })

  test('parks a job with an evicted payload by its id', async () => {
    await addStalledJob()
    await withRedis(redisUrl, (redis) => redis.hdel(`${QUEUE_PREFIX}:inbound:${ID}`, 'data'))

    await sweep()

    expect(await parked()).toEqual([
      { event_key: `emptied.${ID}`, reason: 'Redis has deleted the data of this job' },
    ])
    expect(await queue.getJob(ID)).toBeUndefined()
  })

  test('runs the jobs behind one that cannot be read', async () => {
    await addStalledJob('wamid.older')
    await addStalledJob()
    await withRedis(redisUrl, (redis) => redis.hset(`${QUEUE_PREFIX}:inbound:wamid.older`, 'data', '{"v":'))

    expect(await sweep()).toMatchObject({ ranAlone: 1, failed: 1 })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
  })

  test('starts no job after its time is over, and the next sweep runs it', async () => {
    const maxRunMs = 1_000
    await addStalledJob('wamid.older', { ...event(), wa_message_id: 'wamid.older' })
    await addStalledJob()
    const startedAt = performance.now()
    const slow: EventStore = {
      ...store,
      storeAlone: async (item) => {
        await eventually(() => expect(performance.now() - startedAt).toBeGreaterThan(maxRunMs + 100))
        return store.storeAlone(item)
      },
    }
    const deps = { queue, store: slow, normalize, findMessageId, restMs: 0 }

    expect(await sweepFailedJobs({ ...deps, maxRunMs })).toEqual({ ...NOTHING, ranAlone: 1 })
    expect(await sweepFailedJobs(deps)).toEqual({ ...NOTHING, ranAlone: 1 })
  })

  test('runs a job alone while the process is quiet, and asks for quiet for nothing else', async () => {
    const steps: string[] = []
    const whileQuiet = async <T>(work: () => Promise<T>): Promise<T> => {
      steps.push('quiet')
      const result = await work()
      steps.push('loud')
      return result
    }
    const watched = (event: WebhookEvent) => {
      steps.push('read')
      return normalize(event)
    }
    const deps = { queue, store, normalize: watched, findMessageId, restMs: 0, whileQuiet }
    await sweepFailedJobs(deps)
    expect(steps).toEqual([])
    await addStalledJob()

    await sweepFailedJobs(deps)

    expect(steps).toEqual(['quiet', 'read', 'loud'])
  })

  test('stores a job that runs alone in a batch of its own', async () => {
    await addStalledJob()
    const shared: string[] = []
    const watched: EventStore = {
      ...store,
      store: (item) => {
        shared.push(item.job_id)
        return store.store(item)
      },
    }

    await sweepFailedJobs({ queue, store: watched, normalize, findMessageId, restMs: 0 })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
    expect(shared).toEqual([])
  })

  test('starts no job after its signal has aborted', async () => {
    await addStalledJob()

    expect(
      await sweepFailedJobs({
        queue,
        store,
        normalize,
        findMessageId,
        restMs: 0,
        signal: AbortSignal.abort(),
      }),
    ).toEqual(NOTHING)
  })

  /** The mark that a process leaves when it dies while it runs the job alone. */
  async function leaveMarkOfDeadProcess(alone_since: number): Promise<void> {
    await (await queue.getJob(ID))?.updateData({ ...event(), alone_since })
  }

  /** A job that BullMQ itself has failed because it stalled: its worker hangs, and does not extend the lock. */
  async function addStalledJob(jobId = ID, data: object = event()): Promise<void> {
    const before = await queue.getFailedCount()
    await queue.add('message', data, { jobId })
    const options = {
      connection: { url: redisUrl, maxRetriesPerRequest: null },
      prefix: QUEUE_PREFIX,
      lockDuration: 100,
      stalledInterval: 100,
      maxStalledCount: 0,
    }
    const hanging = new Worker('inbound', () => new Promise(() => {}), { ...options, skipLockRenewal: true })
    await eventually(async () => expect((await queue.getJob(jobId))?.processedOn).toBeDefined())
    await hanging.close(true)
    const next = new Worker('inbound', async () => {}, options)
    await eventually(async () => expect(await queue.getFailedCount()).toBe(before + 1))
    await next.close()
  }
})

function event(): WebhookEvent {
  return {
    v: EVENT_VERSION,
    kind: 'message',
    provider: 'meta',
    received_at: Date.parse('2026-06-01T12:00:00Z'),
    wa_message_id: ID,
    business_number: '100200300',
    field: 'messages',
    payload: JSON.stringify({ id: ID, from: '15550001234', type: 'text', text: { body: 'Hello' } }),
  }
}
