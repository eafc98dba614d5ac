/** Jobs whose data is of no use. */
import type { Queue } from 'bullmq'
import { beforeEach, expect, test } from 'vitest'
import { EVENT_VERSION, type WebhookEvent } from '../../src/core/event.ts'
import { createEventStore, type EventStore } from '../../src/db/ingest/event-store.ts'
import { reprocessParkedEvents } from '../../src/db/reprocess/events.ts'
import { messageIdFinder, normalize, PROVIDERS, reparse } from '../../src/providers/index.ts'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { QUEUE_PREFIX } from '../../src/queue/names.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { createInboundWorker } from '../../src/worker/inbound-worker.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { describeWithRedis, takeRedisUrl, withRedis } from '../support/redis.ts'

const findMessageId = messageIdFinder(PROVIDERS)

const OPTIONS = {
  batchSize: 10,
  isDryRun: false,
  signal: new AbortController().signal,
  onProgress: () => {},
}
const ID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQz'

describeWithRedis('a worker on Redis', () => {
  let database: TestDatabase
  let redisUrl: string
  let backend: QueueBackend
  let queue: Queue
  let store: EventStore

  beforeEach(async () => {
    database = await createTestDatabase()
    redisUrl = await takeRedisUrl()
    const redis = { url: redisUrl, clusterNodes: [], sentinels: [] }
    backend = openRedisBackend({ redis, onError: () => {} })
    cleanUp(() => backend.close())
    queue = backend.createQueue('inbound')
    store = createEventStore({ db: database.db })
  })

  const startWorker = () => {
    const observer = { onOutcome: () => {}, onPause: () => {}, onFailed: () => {} }
    const worker = createInboundWorker({
      backend,
      store,
      normalize,
      findMessageId,
      concurrency: 50,
      observer,
    })
    void Promise.resolve(worker.run()).catch(() => {})
  }
  const parked = () =>
    database.db.selectFrom('webhook_events').select(['event_key', 'wa_message_id', 'reason']).execute()
  const messages = () => database.db.selectFrom('chat_messages').select('wa_message_id').execute()

  test('parks a message whose id is stored for another business number, as the direct path does', async () => {
    const jobOf = (business_number: string) => ({ job_id: ID, event: { ...event(), business_number } })
    const add = backend.createInboundAdd()
    await backend.ready()
    startWorker()
    await add([jobOf('100')])
    await eventually(async () => expect(await queue.getCompletedCount()).toBe(1))

    await add([jobOf('200')])

    const parkedOnce = [
      {
        event_key: `${ID}.200`,
        wa_message_id: ID,
        reason: 'wa_message_id is already stored for another business number',
      },
    ]
    await eventually(async () => expect(await parked()).toEqual(parkedOnce))
    const direct = jobOf('200')
    expect(await store.store({ ...direct, fact: normalize(direct.event) })).toEqual({ outcome: 'duplicate' })
    expect(await parked()).toEqual(parkedOnce)
  })

  test('parks a job with an evicted payload by its id, and stores the event when it comes again', async () => {
    await queue.add('message', event(), { jobId: ID })
    // As Redis does with a maxmemory-policy other than noeviction.
    await withRedis(redisUrl, (redis) => redis.del(`${QUEUE_PREFIX}:inbound:${ID}`))
    startWorker()

    await eventually(async () =>
      expect(await parked()).toEqual([
        {
          event_key: `emptied.${ID}`,
          wa_message_id: ID,
          reason: 'Redis has deleted the data of this job',
        },
      ]),
    )
    await eventually(async () => expect(await queue.getJob(ID)).toBeUndefined())

    await queue.add('message', event(), { jobId: ID })
    await eventually(async () => expect(await messages()).toEqual([{ wa_message_id: ID }]))
  })

  test.each(['no JSON', '{"v":1,"kind":"mess', 'null', '7', '[]'])(
    'parks a job with the damaged data %s by its id, with its bytes, and stores the others',
    async (text) => {
      const other = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQ0'
      await queue.add('message', event(), { jobId: ID })
      await withRedis(redisUrl, (redis) => redis.hset(`${QUEUE_PREFIX}:inbound:${ID}`, 'data', text))
      await queue.add('message', { ...event(), wa_message_id: other }, { jobId: other })
      startWorker()

      await eventually(async () =>
        expect(await parked()).toEqual([
          { event_key: `damaged.${ID}`, wa_message_id: ID, reason: 'the data of this job is damaged' },
        ]),
      )
      const { rows } = await database.pool.query('SELECT raw FROM webhook_events')
      expect(String(rows[0].raw)).toBe(text)
      await eventually(async () => expect(await queue.getCompletedCount()).toBe(1))
      expect(await queue.getJob(ID)).toBeUndefined()
    },
  )

  test('leaves such an event parked when parked events are reprocessed', async () => {
    await queue.add('message', event(), { jobId: ID })
    await withRedis(redisUrl, (redis) => redis.del(`${QUEUE_PREFIX}:inbound:${ID}`))
    startWorker()
    await eventually(async () => expect(await parked()).toHaveLength(1))

    const parser = { reparse, normalize, keptFields: [] }
    const tally = await reprocessParkedEvents({ db: database.db, store, parser }, OPTIONS)

    expect(tally).toMatchObject({ examined: 1, recovered: 0, still_parked: 1 })
    expect(await parked()).toHaveLength(1)
  })
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
