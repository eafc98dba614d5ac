import type { Job, Queue } from 'bullmq'
import { describe, expect, test } from 'vitest'
import type { WebhookEvent } from '../../src/core/event.ts'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { type HttpRequest, type HttpResponse, send } from '../support/http.ts'
import { createEmptyDatabase } from '../support/postgres.ts'
import { describeWithRedis, startRedisServer, takeRedisUrl } from '../support/redis.ts'
import { asAdmin, startAdminApp } from './admin-app.ts'

/** Contains the characters of base64 that have a meaning in a URL. */
const JOB_ID = 'wamid.HBgLMTU1/NTAw+MDEyMzQ=='
const JOB_PATH = `inbound/${encodeURIComponent(JOB_ID)}`
const OUR_PAGE = { 'sec-fetch-site': 'same-origin' }

const event: WebhookEvent = {
  v: 1,
  kind: 'message',
  provider: 'meta',
  received_at: 1_790_000_000_000,
  wa_message_id: JOB_ID,
  business_number: '15551230001',
  payload: '{"from":"15550001234","text":{"body":"My pin is 4321"}}',
}

function openRedis(url: string): QueueBackend {
  const backend = openRedisBackend({ redis: { url, clusterNodes: [], sentinels: [] }, onError: () => {} })
  cleanUp(() => backend.close())
  return backend
}

async function startBoard(backend: QueueBackend, { canWrite = false } = {}) {
  const queue = backend.createProducerQueue('inbound')
  await eventually(async () => void (await queue.getJobCounts()))
  const app = await startAdminApp({ boardQueues: [queue], bullBoardWrite: canWrite })
  const ask = (path: string, request: HttpRequest = {}): Promise<HttpResponse> =>
    send(`${app.url}/queues${path}`, { ...request, headers: { ...asAdmin, ...request.headers } })
  return {
    url: app.url,
    queue,
    ask,
    act: (method: string, path: string, body?: unknown) => ask(path, { method, body, headers: OUR_PAGE }),
  }
}

async function failJob(backend: QueueBackend, queue: Queue, message: string): Promise<Job> {
  const job = await queue.add('message', event, { jobId: JOB_ID })
  const worker = backend.createWorker(
    'inbound',
    async () => {
      throw new Error(message)
    },
    { concurrency: 1 },
  )
  const failed = new Promise((resolve) => worker.once('failed', resolve))
  void worker.run()
  await failed
  await worker.close()
  return job
}

const listing = '/api/queues?activeQueue=inbound&status=latest&page=1&jobsPerPage=10'

describeWithRedis('Bull Board', () => {
  test('serves its page and files under a policy that allows nothing from other sites', async () => {
    const { ask } = await startBoard(openRedis(await takeRedisUrl()))

    const page = await ask('')
    const script = /src="(static\/js\/main[^"]+)"/.exec(page.text)?.[1]
    const file = await ask(`/${script}`)

    expect(page.status).toBe(200)
    expect(page.text).toContain('<base href="/queues/" />')
    expect(page.text).not.toContain('googleapis')
    expect(page.headers['content-security-policy']).toContain("script-src 'self';")
    expect(page.headers['content-security-policy']).not.toMatch(/https?:/)
    expect(page.headers['x-powered-by']).toBeUndefined()
    expect(page.headers['cache-control']).toBe('no-store')
    expect(file.status).toBe(200)
    expect(file.headers['cache-control']).toBe('private, max-age=86400')
  })

  test('shows the kind of a job and no content of messages', async () => {
    const backend = openRedis(await takeRedisUrl())
    const { queue, ask } = await startBoard(backend)
    const job = await failJob(backend, queue, 'invalid input syntax for type json: "My pin is 4321"')
    await queue.addJobLog(job.id!, 'sent "My pin is 4321" to 15550001234')

    const list = await ask(listing)
    const single = await ask(`/api/queues/${JOB_PATH}`)
    const logs = await ask(`/api/queues/${JOB_PATH}/logs`)

    expect(single.json()).toMatchObject({
      job: {
        id: JOB_ID,
        data: { kind: 'message', provider: 'meta', payload_bytes: event.payload.length },
        failedReason: 'invalid input syntax for type json: "…"',
      },
      status: 'failed',
    })
    expect(list.json()).toMatchObject({
      queues: [{ name: 'inbound', counts: { failed: 1 }, jobs: [{ id: JOB_ID }] }],
    })
    expect(logs.json()).toEqual(['sent "…" to …'])
    for (const response of [list, single, logs]) expect(response.text).not.toMatch(/4321|15550001234/)
  })

  test('changes nothing unless BULL_BOARD_WRITE is set', async () => {
    const backend = openRedis(await takeRedisUrl())
    const { queue, act } = await startBoard(backend)
    await failJob(backend, queue, 'down')

    const answers = await Promise.all([
      act('PUT', `/api/queues/${JOB_PATH}/retry`),
      act('PUT', `/api/queues/${JOB_PATH}/clean`),
      act('PUT', '/api/queues/inbound/retry/failed'),
      act('PUT', '/api/queues/inbound/pause'),
      act('PUT', '/api/queues/pause'),
      act('PUT', '/api/queues/inbound/empty'),
      act('PUT', '/api/queues/inbound/obliterate', { force: true }),
      act('POST', '/api/queues/inbound/add', { name: 'message', data: {} }),
      act('PATCH', `/api/queues/${JOB_PATH}/update-data`, { jobData: {} }),
    ])

    expect(answers.map((answer) => answer.status)).toEqual(Array(9).fill(405))
    expect(await queue.getJobCounts('failed', 'waiting')).toEqual({ failed: 1, waiting: 0 })
    expect(await queue.isPaused()).toBe(false)
  })

  test('retries and removes single jobs with BULL_BOARD_WRITE', async () => {
    const backend = openRedis(await takeRedisUrl())
    const { queue, act } = await startBoard(backend, { canWrite: true })
    await failJob(backend, queue, 'down')

    const retried = await act('PUT', `/api/queues/${JOB_PATH}/retry`)
    const stateAfterRetry = await (await queue.getJob(JOB_ID))?.getState()
    const dataAfterRetry = (await queue.getJob(JOB_ID))?.data
    const removed = await act('PUT', `/api/queues/${JOB_PATH}/clean`)

    expect(retried.status).toBe(204)
    expect(stateAfterRetry).toBe('waiting')
    expect(dataAfterRetry).toEqual(event)
    expect(removed.status).toBe(204)
    expect(await queue.getJob(JOB_ID)).toBeUndefined()
  })

  test('retries all failed jobs, pauses and resumes with BULL_BOARD_WRITE', async () => {
    const backend = openRedis(await takeRedisUrl())
    const { queue, act } = await startBoard(backend, { canWrite: true })
    await failJob(backend, queue, 'down')

    const retried = await act('PUT', '/api/queues/inbound/retry/failed')
    const paused = await act('PUT', '/api/queues/inbound/pause')
    const isPaused = await queue.isPaused()
    const resumed = await act('PUT', '/api/queues/inbound/resume')

    expect([retried.status, paused.status, resumed.status]).toEqual([200, 200, 200])
    expect(retried.json()).toEqual({ retried: 1, skipped: 0 })
    expect([isPaused, await queue.isPaused()]).toEqual([true, false])
  })

  test('never allows an action that loses acknowledged messages or writes masked data back', async () => {
    const { queue, act } = await startBoard(openRedis(await takeRedisUrl()), { canWrite: true })
    await queue.add('message', event, { jobId: JOB_ID })

    const answers = await Promise.all([
      act('PUT', '/api/queues/inbound/empty'),
      act('PUT', '/api/queues/inbound/obliterate', { force: true }),
      act('PUT', '/api/queues/inbound/clean/failed'),
      act('PUT', '/api/queues/inbound/clean/wait'),
      act('POST', '/api/queues/inbound/add', { name: 'message', data: {} }),
      act('PATCH', `/api/queues/${JOB_PATH}/update-data`, { jobData: {} }),
    ])

    expect(answers.map((answer) => answer.status)).toEqual(Array(6).fill(403))
    expect(answers[0]!.json()).toMatchObject({ message: expect.stringContaining('acknowledged') })
    expect((await queue.getJob(JOB_ID))?.data).toEqual(event)
    expect(await queue.getJobCounts('waiting')).toEqual({ waiting: 1 })
  })

  test('its jobs are counted in the metrics', async () => {
    const { url, queue } = await startBoard(openRedis(await takeRedisUrl()))
    await queue.add('message', event, { jobId: JOB_ID })

    const { text } = await send(`${url}/metrics`, { headers: asAdmin })

    expect(text).toContain('wa_ingest_queue_up{queue="inbound"} 1\n')
    expect(text).toContain('wa_ingest_queue_jobs{queue="inbound",state="waiting"} 1\n')
  })

  test('refuses requests of other sites, even with BULL_BOARD_WRITE', async () => {
    const { queue, ask } = await startBoard(openRedis(await takeRedisUrl()), { canWrite: true })
    const foreign = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }

    const answer = await ask('/api/queues/inbound/pause', { method: 'PUT', headers: foreign })

    expect(answer.status).toBe(403)
    expect(await queue.isPaused()).toBe(false)
  })

  test('answers within seconds while the queue hangs or refuses connections, and works again afterwards', async () => {
    const redis = await startRedisServer()
    const { ask } = await startBoard(openRedis(redis.url))

    redis.kill('SIGSTOP')
    const startedAt = performance.now()
    const [page, polled] = await Promise.all([ask('', { headers: { accept: 'text/html' } }), ask(listing)])
    const waitedMs = performance.now() - startedAt
    redis.kill('SIGCONT')
    await eventually(async () => expect((await ask('')).status).toBe(200))
    redis.kill()
    await redis.ended
    const refused = await ask('')

    expect(page.status).toBe(503)
    expect(page.text).toContain('The queue does not answer.')
    expect(polled.status).toBe(503)
    expect(polled.text).toContain('The queue does not answer.')
    expect(waitedMs).toBeLessThan(15_000)
    expect(refused.status).toBe(503)
  })

  test('has a deadline on a connection that never gives up', async () => {
    const redis = await startRedisServer()
    const backend = openRedis(redis.url)
    const queue = backend.createQueue('inbound')
    await queue.waitUntilReady()
    const { url } = await startAdminApp({ boardQueues: [queue] })

    redis.kill('SIGSTOP')
    const [page, polled] = await Promise.all([
      send(`${url}/queues`, { headers: asAdmin }),
      send(`${url}/queues${listing}`, { headers: asAdmin }),
    ])
    redis.kill('SIGCONT')

    expect([page.status, polled.status]).toEqual([503, 503])
  })
})

describe('Bull Board on the PostgreSQL backend', () => {
  test('lists the queues and retries a failed job', async () => {
    const database = await createEmptyDatabase()
    await migrateQueueSchema(database.url)
    const backend = openPostgresBackend({ databaseUrl: database.url, onError: () => {} })
    cleanUp(() => backend.close())
    const { queue, ask, act } = await startBoard(backend, { canWrite: true })
    await failJob(backend, queue, 'down')

    const list = await ask(listing)
    const single = await ask(`/api/queues/${JOB_PATH}`)
    const retried = await act('PUT', `/api/queues/${JOB_PATH}/retry`)

    expect(list.json()).toMatchObject({ queues: [{ name: 'inbound', counts: { failed: 1 } }] })
    expect(single.json()).toMatchObject({ job: { id: JOB_ID, data: { kind: 'message' } }, status: 'failed' })
    expect(retried.status).toBe(204)
    expect(await queue.getJobCounts('waiting')).toEqual({ waiting: 1 })
  })
})
