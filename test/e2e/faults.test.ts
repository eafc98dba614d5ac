/**
 * Outages of stores and crashes of processes: no acknowledged message is lost or stored twice. The tests of a suite share
 * one service, in their order: each process takes more than a second of CPU to start.
 */
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BACKENDS, testOn } from '../support/backends.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { metaMessage, metaMessagesWebhook, metaTextWebhook, wamid } from '../support/meta-webhooks.ts'
import { describeWithRedis, startRedisServer, takeRedisUrl } from '../support/redis.ts'
import { startService, type TestService } from '../support/service.ts'

const timesStored = async (service: TestService, id: string) => {
  const { rows } = await service.database.pool.query(
    'SELECT count(*) FROM chat_messages WHERE wa_message_id = $1',
    [id],
  )
  return Number(rows[0].count)
}
const isStoredOnce = (service: TestService, ids: string[]) =>
  eventually(
    async () => {
      const { rows } = await service.database.pool.query(
        'SELECT wa_message_id FROM chat_messages WHERE wa_message_id = ANY($1)',
        [ids],
      )
      expect(rows.map((row) => row.wa_message_id).sort()).toEqual([...ids].sort())
    },
    { timeoutMs: 40_000 },
  )

/** Returns the keys that it has added. */
async function fillTo(redis: Redis, share: number): Promise<string[]> {
  const field = (info: string, name: string) => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1])
  const added: string[] = []
  for (;;) {
    const info = await redis.info('memory')
    if (field(info, 'used_memory') >= share * field(info, 'maxmemory')) return added
    added.push(`ballast:${added.length}`)
    await redis.set(`ballast:${added.length - 1}`, 'x'.repeat(100_000))
  }
}

describeWithRedis('the queue goes away', () => {
  let service: TestService
  let redis: Redis
  /** Answered 200 while the queue was away. */
  const acknowledged: string[] = []

  beforeAll(async () => {
    const server = await startRedisServer({ args: ['--maxmemory', '20mb'] })
    service = await startService({ backend: 'redis', workers: 0, redisUrl: server.url })
    redis = new Redis(server.url)
    cleanUp(() => redis.disconnect())
  })

  /** Delivers one message, and returns its id and the answer. */
  const deliver = async () => {
    const id = wamid()
    const response = await service.deliver(metaTextWebhook({ id }))
    if (response.status === 200) acknowledged.push(id)
    return { id, status: response.status, headers: response.headers }
  }
  const deliverInTurn = async (count: number) => {
    const statuses: number[] = []
    while (statuses.length < count) statuses.push((await deliver()).status)
    return statuses
  }
  const deliverAtOnce = async (count: number) => {
    const answers = await Promise.all(Array.from({ length: count }, deliver))
    return answers.map(({ status }) => status)
  }
  /** Whether webhooks go to the queue, or around it: without a worker, what is on the queue is in no table. */
  const isQueueUsed = (isUsed = true) =>
    eventually(async () => {
      const { id, status } = await deliver()
      expect([status, await timesStored(service, id)]).toEqual([200, isUsed ? 0 : 1])
    })
  /** How often the receiver has found that it must go around a store. */
  const timesAvoided = (store: 'queue' | 'direct') =>
    service.api.output
      .split('\n')
      .filter((line) => line.includes('going around it') && line.includes(`"store":"${store}"`)).length

  beforeEach(async () => {
    service.databaseProxy.thaw()
    service.redisProxy?.thaw()
    await service.redisProxy?.bringUp()
    await isQueueUsed()
  })

  test('refusing connections: webhooks go straight to the database, and to the queue again afterwards', async () => {
    await service.redisProxy?.takeDown()
    await isQueueUsed(false)

    expect(await deliverAtOnce(20)).toEqual(Array(20).fill(200))
    await isStoredOnce(service, acknowledged.slice(-20))

    await service.redisProxy?.bringUp()
    await isQueueUsed()
  })

  test('nearly full: webhooks go straight to the database, and the queue is spared', async () => {
    const ballast = await fillTo(redis, 0.85)
    await isQueueUsed(false).finally(() => redis.unlink(ballast))
  })

  test('frozen: webhooks wait for a deadline until the first one has missed it, and the next go around the queue', async () => {
    const before = timesAvoided('queue')
    service.redisProxy?.freeze()

    expect(await deliverAtOnce(10)).toEqual(Array(10).fill(200))
    expect(await deliverInTurn(5)).toEqual(Array(5).fill(200))

    // A webhook that waited for a deadline of its own would report one more.
    await eventually(() => expect(timesAvoided('queue') - before).toBe(1))
    await isStoredOnce(service, acknowledged.slice(-15))
  })

  test('together with the database: 503 after one deadline for all, and 200 when the database is back', async () => {
    const before = { queue: timesAvoided('queue'), direct: timesAvoided('direct') }
    service.redisProxy?.freeze()
    service.databaseProxy.freeze()

    const { status, headers } = await deliver()
    expect([status, headers['retry-after']]).toEqual([503, '5'])
    expect(await deliverInTurn(5)).toEqual(Array(5).fill(503))
    await eventually(() =>
      expect({ queue: timesAvoided('queue'), direct: timesAvoided('direct') }).toEqual({
        queue: before.queue + 1,
        direct: before.direct + 1,
      }),
    )

    service.databaseProxy.thaw()
    await isQueueUsed(false)
  })

  test('thawed: what was stored directly is not stored again when the queue has it too', async () => {
    await service.startWorker()

    await isStoredOnce(service, acknowledged)
  })
})

describe.each(BACKENDS)('on %s', (backend) => {
  let service: TestService
  let redisUrl: string

  beforeAll(async () => {
    if (backend === 'redis') redisUrl = await takeRedisUrl()
    service = await startService({ backend, workers: 2, ...(backend === 'redis' ? { redisUrl } : {}) })
  })

  // A test that failed must not leave the next ones without a database.
  afterEach(async () => {
    service.databaseProxy.thaw()
    await service.databaseProxy.bringUp()
  })

  test('a killed worker: its jobs are run by another one and stored once', async () => {
    const batches = Array.from({ length: 5 }, () => Array.from({ length: 100 }, () => metaMessage()))

    const delivered = Promise.all(
      batches.map((messages) => service.deliver(JSON.stringify(metaMessagesWebhook(messages)))),
    )
    await eventually(async () => expect(await service.count('chat_messages')).toBeGreaterThan(0))
    service.workers[0]?.kill('SIGKILL')

    expect((await delivered).map((response) => response.status)).toEqual([200, 200, 200, 200, 200])
    await isStoredOnce(
      service,
      batches.flat().map((message) => String(message.id)),
    )
  })

  test('SIGTERM under load: the worker ends in time, and the next one stores the rest', async () => {
    const messages = Array.from({ length: 300 }, () => metaMessage())
    const response = await service.deliver(JSON.stringify(metaMessagesWebhook(messages)))
    expect(response.status).toBe(200)

    const end = await service.workers[1]?.stop({ timeoutMs: 5_000 })
    expect(end).toEqual({ code: 0, signal: null })
    await service.startWorker({ livesWith: 'file' })

    await isStoredOnce(
      service,
      messages.map((message) => String(message.id)),
    )
  })

  const onRedis = testOn('redis', backend)
  const onPostgres = testOn('postgres', backend)

  onRedis(
    'without a database, webhooks are acknowledged, and stored afterwards without a restart',
    async () => {
      await service.databaseProxy.takeDown()
      const ids = Array.from({ length: 50 }, wamid)

      const responses = await Promise.all(ids.map((id) => service.deliver(metaTextWebhook({ id }))))
      expect(responses.map((response) => response.status)).toEqual(ids.map(() => 200))
      await eventually(() =>
        expect(service.workers.at(-1)?.output).toContain('database does not take events'),
      )

      await service.databaseProxy.bringUp()

      await isStoredOnce(service, ids)
      expect(await service.count('webhook_events')).toBe(0)
    },
  )

  onRedis('with a frozen database, everything is stored once when it continues', async () => {
    service.databaseProxy.freeze()
    const ids = Array.from({ length: 50 }, wamid)
    await Promise.all(ids.map((id) => service.deliver(metaTextWebhook({ id }))))

    service.databaseProxy.thaw()

    await isStoredOnce(service, ids)
  })

  onPostgres('a database that is away is 503, and 200 when it is back', async () => {
    await service.databaseProxy.takeDown()

    expect((await service.deliver(metaTextWebhook({ id: wamid() }))).status).toBe(503)

    await service.databaseProxy.bringUp()
    const id = wamid()
    await eventually(async () => expect((await service.deliver(metaTextWebhook({ id }))).status).toBe(200))
    await isStoredOnce(service, [id])
  })

  onRedis('a failed job does not swallow a redelivery for good: the sweep runs it again', async () => {
    const id = wamid()
    const queue = new Queue('inbound', { connection: { url: redisUrl }, prefix: '{wa}' })
    cleanUp(() => queue.close())
    // A job of a later release: this worker does not know its version, and fails the job.
    await queue.add('message', { v: 99 }, { jobId: id })
    await eventually(async () => expect(await queue.getFailedCount()).toBe(1))

    expect((await service.deliver(metaTextWebhook({ id }))).status).toBe(200)
    const failed = await queue.getJob(id)
    const { v: _, ...event } = JSON.parse(JSON.stringify(failed?.data ?? {}))
    expect(event).toEqual({})

    await failed?.updateData({
      v: 1,
      kind: 'message',
      provider: 'meta',
      received_at: Date.now(),
      wa_message_id: id,
      business_number: '1',
      field: 'messages',
      payload: JSON.stringify({ id, from: '15551230001', type: 'text', text: { body: 'late' } }),
    })
    await isStoredOnce(service, [id])
  })
})
