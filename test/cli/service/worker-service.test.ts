import { type Queue, Worker } from 'bullmq'
import { beforeEach, expect, test } from 'vitest'
import { createMetrics } from '../../../src/api/metrics.ts'
import { startWorkerService, type WorkerService } from '../../../src/cli/service/worker-service.ts'
import { loadConfig } from '../../../src/config/load-config.ts'
import { EVENT_VERSION } from '../../../src/core/event.ts'
import type { QueueBackend } from '../../../src/queue/backend.ts'
import { QUEUE_PREFIX } from '../../../src/queue/names.ts'
import { openRedisBackend } from '../../../src/queue/redis-backend.ts'
import { captureLog } from '../../api/captured-log.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { eventually } from '../../support/eventually.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { describeWithRedis, takeRedisUrl, withRedis } from '../../support/redis.ts'

const DEADLINES = { inboundMs: 30_000, sendsMs: 1_000 }
const [FIRST, SECOND] = ['wamid.first', 'wamid.second']

describeWithRedis('the sweep of failed jobs in a worker', () => {
  let database: TestDatabase
  let redisUrl: string
  let backend: QueueBackend
  let queue: Queue
  let service: WorkerService
  let stop: AbortController
  let lines: () => Record<string, unknown>[]

  beforeEach(async () => {
    database = await createTestDatabase()
    redisUrl = await takeRedisUrl()
    const redis = { url: redisUrl, clusterNodes: [], sentinels: [] }
    backend = openRedisBackend({ redis, onError: () => {} })
    cleanUp(() => backend.close())
    queue = backend.createQueue('inbound')
    await addStalledJob(FIRST, event(FIRST))
  })

  function startService(): void {
    const captured = captureLog()
    stop = new AbortController()
    lines = captured.lines
    service = startWorkerService({
      config: loadConfig({}, { needsSecrets: false }),
      db: database.db,
      backend,
      metrics: createMetrics(),
      log: captured.log,
      stop: stop.signal,
    })
    cleanUp(() => service.close(DEADLINES))
  }

  /** As one whose workers have died under it, an hour ago. */
  async function addStalledJob(jobId: string, data: object): Promise<void> {
    const before = await queue.getFailedCount()
    await queue.add('message', data, { jobId })
    const stalled = async () => {
      throw new Error('job stalled more than allowable limit')
    }
    const worker = new Worker('inbound', stalled, { prefix: QUEUE_PREFIX, connection: { url: redisUrl } })
    await eventually(async () => expect(await queue.getFailedCount()).toBe(before + 1))
    await worker.close()
    const hourAgo = Date.now() - 3_600_000
    await withRedis(redisUrl, (redis) =>
      redis.hset(`${QUEUE_PREFIX}:inbound:${jobId}`, { finishedOn: hourAgo }),
    )
  }

  test('finishes the job that it runs alone before the worker closes, and starts no other', async () => {
    await addStalledJob(SECOND, event(SECOND))
    startService()
    const blocker = await database.pool.connect()
    cleanUp(async () => {
      await blocker.query('ROLLBACK')
      blocker.release()
    })
    await blocker.query('BEGIN; LOCK TABLE chat_messages')
    const swept = service.sweepFailedJobs()
    await eventually(async () => expect((await queue.getJob(FIRST))?.data).toHaveProperty('alone_since'))

    stop.abort()
    const closed = service.close(DEADLINES).then(() => 'closed')
    const later = new Promise((resolve) => setTimeout(resolve, 500, 'still open').unref())
    expect(await Promise.race([closed, later])).toBe('still open')
    await blocker.query('ROLLBACK')
    await Promise.all([closed, swept])

    const rows = await database.db.selectFrom('chat_messages').select('wa_message_id').execute()
    expect(rows).toEqual([{ wa_message_id: FIRST }])
    expect(await queue.getJob(FIRST)).toBeUndefined()
    expect((await queue.getJob(SECOND))?.data).toEqual(event(SECOND))
  })

  test('logs what it has run, and what it could not run', async () => {
    await addStalledJob(SECOND, { ...event(SECOND), v: 99 })
    startService()

    await service.sweepFailedJobs()

    expect(lines()).toMatchObject([
      { level: 'info', msg: 'failed jobs run again', ranAlone: 1 },
      { level: 'warn', jobs: 1, err: { message: `job format version 99 is not ${EVENT_VERSION}` } },
    ])
  })
})

function event(id: string) {
  return {
    v: EVENT_VERSION,
    kind: 'message',
    provider: 'meta',
    received_at: Date.parse('2026-06-01T12:00:00Z'),
    wa_message_id: id,
    business_number: '100200300',
    field: 'messages',
    payload: JSON.stringify({ id, from: '15550001234', type: 'text', text: { body: 'Hello' } }),
  }
}
