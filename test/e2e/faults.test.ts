/** Outages of stores and crashes of processes: no acknowledged message is lost or stored twice. */
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { PRODUCER_TIMEOUT_MS } from '../../src/queue/inbound-producer.ts'
import { BACKENDS } from '../support/backends.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import type { HttpResponse } from '../support/http.ts'
import { metaMessage, metaMessagesWebhook, metaTextWebhook, wamid } from '../support/meta-webhooks.ts'
import { describeWithRedis, hasRedis, startRedisServer, takeRedisUrl } from '../support/redis.ts'
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
/** How quickly one of the next few webhooks is answered: the machine may be busy, but not during all of them. */
const quickestOf = async (count: number, run: () => Promise<HttpResponse>) => {
  const answers: { result: HttpResponse; ms: number }[] = []
  while (answers.length < count) answers.push(await elapsed(run))
  return {
    statuses: answers.map(({ result }) => result.status),
    ms: Math.min(...answers.map(({ ms }) => ms)),
  }
}
const elapsed = async <T>(run: () => Promise<T>): Promise<{ result: T; ms: number }> => {
  const startedAt = performance.now()
  return { result: await run(), ms: performance.now() - startedAt }
}

async function fillTo(redis: Redis, share: number): Promise<void> {
  const field = (info: string, name: string) => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1])
  for (let i = 0; ; i++) {
    const info = await redis.info('memory')
    if (field(info, 'used_memory') >= share * field(info, 'maxmemory')) return
    await redis.set(`ballast:${i}`, 'x'.repeat(100_000))
  }
}

describeWithRedis('the queue goes away', () => {
  test('refusing connections: webhooks go straight to the database, and to the queue again afterwards', async () => {
    const service = await startService({ backend: 'redis', workers: 0 })
    await service.redisProxy?.takeDown()
    const ids = Array.from({ length: 20 }, wamid)

    const responses = await Promise.all(ids.map((id) => service.deliver(metaTextWebhook({ id }))))

    expect(responses.map((response) => response.status)).toEqual(ids.map(() => 200))
    await isStoredOnce(service, ids)

    await service.redisProxy?.bringUp()
    await eventually(async () => {
      const id = wamid()
      expect((await service.deliver(metaTextWebhook({ id }))).status).toBe(200)
      expect(await timesStored(service, id)).toBe(0)
    })
  })

  test('frozen: only the first webhook waits for a deadline', async () => {
    const service = await startService({ backend: 'redis', workers: 0 })
    service.redisProxy?.freeze()
    const ids: string[] = []
    const deliver = () => {
      const id = wamid()
      ids.push(id)
      return service.deliver(metaTextWebhook({ id }))
    }

    const slow = await elapsed(deliver)
    const quick = await quickestOf(5, deliver)

    expect([slow.result.status, ...quick.statuses]).toEqual(ids.map(() => 200))
    expect(slow.ms).toBeLessThan(3_500)
    expect(quick.ms).toBeLessThan(PRODUCER_TIMEOUT_MS)
    await isStoredOnce(service, ids)
  })

  test('thawed: events that were stored directly are not stored again if the queue has them too', async () => {
    const service = await startService({ backend: 'redis', workers: 1 })
    service.redisProxy?.freeze()
    const ids = Array.from({ length: 10 }, wamid)
    await Promise.all(ids.map((id) => service.deliver(metaTextWebhook({ id }))))

    service.redisProxy?.thaw()
    const after = wamid()
    await eventually(async () =>
      expect((await service.deliver(metaTextWebhook({ id: after }))).status).toBe(200),
    )

    await isStoredOnce(service, [...ids, after])
  })

  test('nearly full: webhooks go straight to the database, and the queue is spared', async () => {
    const server = await startRedisServer({ args: ['--maxmemory', '20mb'] })
    const service = await startService({ backend: 'redis', workers: 0, redisUrl: server.url })
    const redis = new Redis(server.url)
    cleanUp(() => redis.disconnect())
    await fillTo(redis, 0.85)

    await eventually(async () => {
      const id = wamid()
      expect((await service.deliver(metaTextWebhook({ id }))).status).toBe(200)
      expect(await timesStored(service, id)).toBe(1)
    })
  })
})

describe.skipIf(!hasRedis)('the database goes away', () => {
  test('with the queue available: webhooks are acknowledged, and stored afterwards without a restart', async () => {
    const service = await startService({ backend: 'redis', workers: 2 })
    await service.databaseProxy.takeDown()
    const ids = Array.from({ length: 50 }, wamid)

    const responses = await Promise.all(ids.map((id) => service.deliver(metaTextWebhook({ id }))))
    expect(responses.map((response) => response.status)).toEqual(ids.map(() => 200))
    await eventually(() => expect(service.workers[0]?.output).toContain('database does not take events'))

    await service.databaseProxy.bringUp()

    await isStoredOnce(service, ids)
    expect(await service.count('webhook_events')).toBe(0)
  })

  test('frozen under the worker: everything is stored once when it continues', async () => {
    const service = await startService({ backend: 'redis', workers: 1 })
    service.databaseProxy.freeze()
    const ids = Array.from({ length: 50 }, wamid)
    await Promise.all(ids.map((id) => service.deliver(metaTextWebhook({ id }))))

    service.databaseProxy.thaw()

    await isStoredOnce(service, ids)
  })

  test('together with the queue: 503 within the deadline, then at once, and 200 when one store is back', async () => {
    const service = await startService({ backend: 'redis', workers: 0 })
    service.redisProxy?.freeze()
    service.databaseProxy.freeze()

    const first = await elapsed(() => service.deliver(metaTextWebhook({ id: wamid() })))
    const next = await quickestOf(5, () => service.deliver(metaTextWebhook({ id: wamid() })))

    expect([first.result.status, ...next.statuses]).toEqual(Array(6).fill(503))
    expect(first.result.headers['retry-after']).toBeDefined()
    expect(first.ms).toBeLessThan(4_500)
    // Less than either store's deadline.
    expect(next.ms).toBeLessThan(PRODUCER_TIMEOUT_MS)

    service.databaseProxy.thaw()
    const id = wamid()
    await eventually(async () => expect((await service.deliver(metaTextWebhook({ id }))).status).toBe(200))
    await isStoredOnce(service, [id])
  })
})

test('on the PostgreSQL backend a database that is away is 503, and 200 when it is back', async () => {
  const service = await startService({ backend: 'postgres', workers: 1 })
  await service.databaseProxy.takeDown()

  expect((await service.deliver(metaTextWebhook({ id: wamid() }))).status).toBe(503)

  await service.databaseProxy.bringUp()
  const id = wamid()
  await eventually(async () => expect((await service.deliver(metaTextWebhook({ id }))).status).toBe(200))
  await isStoredOnce(service, [id])
})

describe.each(BACKENDS)('on %s', (backend) => {
  test('a killed worker: its jobs are run by another one and stored once', async () => {
    const service = await startService({ backend, workers: 2 })
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
    const service = await startService({ backend, workers: 1 })
    const messages = Array.from({ length: 300 }, () => metaMessage())
    await service.deliver(JSON.stringify(metaMessagesWebhook(messages)))

    const end = await service.workers[0]?.stop({ timeoutMs: 5_000 })
    expect(end).toEqual({ code: 0, signal: null })
    await service.startWorker()

    await isStoredOnce(
      service,
      messages.map((message) => String(message.id)),
    )
  })
})

describeWithRedis('a failed job', () => {
  test('does not swallow a redelivery for good: the sweep runs it again', async () => {
    const redisUrl = await takeRedisUrl()
    const service = await startService({ backend: 'redis', redisUrl, workers: 1 })
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
