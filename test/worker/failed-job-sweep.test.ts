import { type Queue, Worker } from 'bullmq'
import { beforeEach, expect, test } from 'vitest'
import { EVENT_VERSION, type WebhookEvent } from '../../src/core/event.ts'
import { createEventStore, type EventStore } from '../../src/db/event-store.ts'
import { normalize } from '../../src/providers/index.ts'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { QUEUE_PREFIX } from '../../src/queue/names.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { sweepFailedJobs } from '../../src/worker/failed-job-sweep.ts'
import { createInboundWorker } from '../../src/worker/inbound-worker.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { describeWithRedis, takeRedisUrl } from '../support/redis.ts'

const ID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQz'

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

  const sweep = () => sweepFailedJobs({ queue, store, normalize, restMs: 0 })
  const rows = () => database.db.selectFrom('chat_messages').select('wa_message_id').execute()
  const parked = () => database.db.selectFrom('webhook_events').select(['event_key', 'reason']).execute()

  test('runs a job again that failed for a reason that is over', async () => {
    await queue.add('message', { ...event(), v: 99 }, { jobId: ID })
    const worker = createInboundWorker({
      backend,
      store,
      normalize,
      concurrency: 5,
      observer: { onOutcome: () => {}, onPause: () => {}, onFailed: () => {} },
    })
    worker.run()
    await eventually(async () => expect(await queue.getFailedCount()).toBe(1))

    await (await queue.getJob(ID))?.updateData(event())
    expect(await sweep()).toEqual({ retried: 1, ranAlone: 0, parked: 0 })

    await eventually(async () => expect(await rows()).toEqual([{ wa_message_id: ID }]))
  })

  test('leaves a job alone that failed a moment ago', async () => {
    await addStalledJob()

    expect(await sweepFailedJobs({ queue, store, normalize, restMs: 60_000 })).toMatchObject({ ranAlone: 0 })
    expect(await queue.getFailedCount()).toBe(1)
  })

  test('runs a job alone whose worker died under it too often, and takes it off the queue', async () => {
    await addStalledJob()

    expect(await sweep()).toEqual({ retried: 0, ranAlone: 1, parked: 0 })

    expect(await rows()).toEqual([{ wa_message_id: ID }])
    expect(await queue.getJob(ID)).toBeUndefined()
  })

  test('parks it, unread, when its worker died under it alone too', async () => {
    await addStalledJob()
    const dies = () => {
      throw new Error('as if the process had died here')
    }
    await expect(sweepFailedJobs({ queue, store, normalize: dies, restMs: 0 })).rejects.toThrow()

    expect(await sweepFailedJobs({ queue, store, normalize: dies, restMs: 0 })).toMatchObject({ parked: 1 })

    expect(await rows()).toEqual([])
    expect(await parked()).toEqual([{ event_key: ID, reason: 'its worker died each time it was run' }])
    expect(await queue.getJob(ID)).toBeUndefined()
  })

  test('does not take a job that has just begun to run alone for one that killed its worker', async () => {
    await addStalledJob()
    await (await queue.getJob(ID))?.updateData({ ...event(), alone_since: Date.now() })

    expect(
      await sweepFailedJobs({ queue, store, normalize, restMs: 0, now: () => Date.now() - 1_000 }),
    ).toEqual({
      retried: 0,
      ranAlone: 0,
      parked: 0,
    })
    expect(await parked()).toEqual([])
  })

  /** A job that BullMQ itself has failed because it stalled: its worker holds it, and does not renew the lock. */
  async function addStalledJob(): Promise<void> {
    await queue.add('message', event(), { jobId: ID })
    const options = {
      connection: { url: redisUrl, maxRetriesPerRequest: null },
      prefix: QUEUE_PREFIX,
      lockDuration: 100,
      stalledInterval: 100,
      maxStalledCount: 0,
    }
    const hanging = new Worker('inbound', () => new Promise(() => {}), { ...options, skipLockRenewal: true })
    await eventually(async () => expect((await queue.getJob(ID))?.processedOn).toBeDefined())
    await hanging.close(true)
    const next = new Worker('inbound', async () => {}, options)
    await eventually(async () => expect(await queue.getFailedCount()).toBe(1))
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
