import type { Queue } from 'bullmq'
import { beforeEach, describe, expect, test } from 'vitest'
import type { InboundJob } from '../../src/core/event.ts'
import { readCounts } from '../../src/db/counters.ts'
import { createEventStore } from '../../src/db/ingest/event-store.ts'
import { messageIdFinder, normalize, PROVIDERS } from '../../src/providers/index.ts'
import { parseMetaWebhook } from '../../src/providers/meta/parse.ts'
import type { InboundConsumer, QueueBackend } from '../../src/queue/backend.ts'
import { QUEUE_PREFIX } from '../../src/queue/names.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { createInboundWorker } from '../../src/worker/inbound-worker.ts'
import { BACKENDS } from '../support/backends.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import {
  metaChange,
  metaMessage,
  metaMessagesWebhook,
  metaStatusWebhook,
  metaWebhook,
  wamid,
} from '../support/meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { hasRedis, takeRedisUrl, withRedis } from '../support/redis.ts'
import { runCommand } from './run-command.ts'

const TABLES = ['contacts', 'conversations', 'chat_messages', 'message_statuses', 'webhook_events', 'changes']

describe.each(BACKENDS)('wa-ingest replay-completed, with the queue on %s', (kind) => {
  let database: TestDatabase
  let redisUrl: string
  let backend: QueueBackend
  let queue: Queue
  let worker: InboundConsumer

  beforeEach(async () => {
    database = await createTestDatabase()
    redisUrl = kind === 'redis' ? await takeRedisUrl() : ''
    if (kind === 'postgres') await migrateQueueSchema(database.url)
    const onError = () => {}
    backend =
      kind === 'redis'
        ? openRedisBackend({ redis: { url: redisUrl, clusterNodes: [], sentinels: [] }, onError })
        : openPostgresBackend({ databaseUrl: database.url, onError })
    cleanUp(() => backend.close())
    queue = backend.createQueue('inbound')
    worker = createInboundWorker({
      backend,
      store: createEventStore({ db: database.db }),
      normalize,
      findMessageId: messageIdFinder(PROVIDERS),
      concurrency: 50,
      observer: { onOutcome: () => {}, onPause: () => {}, onFailed: () => {} },
    })
    worker.run()
  })

  const run = (...args: string[]) =>
    runCommand(['replay-completed', ...args], {
      DATABASE_URL: database.url,
      ...(kind === 'redis' ? { REDIS_URL: redisUrl } : {}),
    })
  const runJson = async (...args: string[]) => {
    const { code, stdout, stderr } = await run('--json', ...args)
    return { code, stderr, ...JSON.parse(stdout) }
  }

  /** Through the queue and the worker. */
  async function receive(...bodies: string[]): Promise<InboundJob[]> {
    const jobs = bodies.flatMap((body) => parseMetaWebhook(Buffer.from(body), Date.now()))
    const before = await queue.getCompletedCount()
    const add = backend.createInboundAdd()
    await backend.ready()
    await add(jobs)
    await eventually(async () => expect(await queue.getCompletedCount()).toBe(before + jobs.length))
    return jobs
  }

  /** A message with its status, a message of another kind of webhook, and one that is parked. */
  const receiveEverything = () => {
    const id = wamid()
    const messages = JSON.stringify(metaMessagesWebhook([metaMessage({ id }), metaMessage(), { id: 7 }]))
    const template = metaChange({ event: 'APPROVED' }, 'message_template_status_update')
    return receive(messages, metaStatusWebhook({ id }), JSON.stringify(metaWebhook([template])))
  }

  /** As a restore to an earlier moment does. */
  async function loseCommits(): Promise<void> {
    await database.pool.query(`TRUNCATE ${TABLES.join(', ')}, counters CASCADE`)
  }

  async function contents() {
    const of = async (query: string) => (await database.pool.query(query)).rows
    return {
      messages: await of('SELECT wa_message_id, content, status FROM chat_messages ORDER BY wa_message_id'),
      statuses: await of('SELECT wa_message_id, status FROM message_statuses'),
      events: await of('SELECT event_key, kind, reason FROM webhook_events ORDER BY event_key'),
      contacts: await of('SELECT name FROM contacts'),
      counts: await readCounts(database.db),
    }
  }

  test('stores again what the database has lost, of every kind, and counts it once', async () => {
    const jobs = await receiveEverything()
    const before = await contents()
    await loseCommits()

    expect(await runJson()).toMatchObject({
      ...{ code: 0, stderr: '', queue: kind, stopped: false },
      ...{ examined: jobs.length, stored: jobs.length - 1, parked: 1, already_there: 0 },
    })

    expect(before.events).toHaveLength(2)
    expect(await contents()).toEqual(before)
  })

  test('changes nothing that is there, and counts no duplicates', async () => {
    const jobs = await receiveEverything()
    const before = await contents()

    expect(await runJson()).toMatchObject({ stored: 0, parked: 0, already_there: jobs.length })

    expect(await contents()).toEqual(before)
  })

  test('says in a table what was missing, and that a queue in the database has lost its jobs as well', async () => {
    await receiveEverything()
    await database.pool.query('DELETE FROM message_statuses')

    const { code, stdout } = await run()

    expect(code).toBe(0)
    expect(stdout).toMatch(/completed jobs read +5\nmissing, now stored +1\n/)
    expect(stdout).toMatch(/already there +4\n/)
    expect(stdout.includes('The queue is in the database')).toBe(kind === 'postgres')
  })

  test('leaves jobs alone that were completed before --since', async () => {
    await receive(JSON.stringify(metaMessagesWebhook([metaMessage()])))
    const since = new Date(Date.now() + 1)
    await eventually(() => expect(Date.now()).toBeGreaterThan(since.getTime()))
    await receive(JSON.stringify(metaMessagesWebhook([metaMessage()])))
    await loseCommits()

    expect(await runJson('--since', since.toISOString())).toMatchObject({ examined: 1, stored: 1 })
  })

  test('reads past jobs of another version, and says so with exit code 1', async () => {
    const [job] = await receive(JSON.stringify(metaMessagesWebhook([metaMessage(), metaMessage()])))
    await (await queue.getJob(job?.job_id ?? ''))?.updateData({ ...job?.event, v: 99 })
    await loseCommits()

    const { code, stdout, stderr } = await run()

    expect(code).toBe(1)
    expect(stdout).toMatch(/missing, now stored +1\n/)
    expect(stdout).toMatch(/not readable by this version +1\n/)
    expect(stderr).toContain('job format version 99 is not 1')
  })

  test('goes on where a run was stopped', async () => {
    const messages = Array.from({ length: 600 }, () => metaMessage())
    await receive(JSON.stringify(metaMessagesWebhook(messages)))
    await loseCommits()
    const stop = new AbortController()
    stop.abort('SIGINT')

    const stopped = await runCommand(
      ['replay-completed'],
      { DATABASE_URL: database.url, ...(kind === 'redis' ? { REDIS_URL: redisUrl } : {}) },
      stop.signal,
    )

    expect(stopped.code).toBe(130)
    expect(stopped.stdout).toContain('Stopped. Nothing was changed.')
    expect(await runJson()).toMatchObject({ stored: 600 })
  })

  if (kind === 'redis')
    test('does not park a job whose data Redis has deleted or damaged', async () => {
      const jobs = await receive(JSON.stringify(metaMessagesWebhook([metaMessage(), metaMessage()])))
      await withRedis(redisUrl, async (redis) => {
        const [first, second] = jobs.map(({ job_id }) => `${QUEUE_PREFIX}:inbound:${job_id}`)
        await redis.hdel(first ?? '', 'data')
        await redis.hset(second ?? '', 'data', '{"v":')
      })

      expect(await runJson()).toMatchObject({ code: 0, examined: 2, without_data: 2, parked: 0 })
    })
})

test.runIf(hasRedis)('names REDIS_URL when the queue does not answer', async () => {
  const database = await createTestDatabase()

  const { code, stderr } = await runCommand(['replay-completed'], {
    DATABASE_URL: database.url,
    REDIS_URL: 'redis://127.0.0.1:1',
  })

  expect(code).toBe(1)
  expect(stderr).toMatch(
    /^wa-ingest replay-completed: cannot use the queue: .*ECONNREFUSED.*; check REDIS_URL\n$/,
  )
})

test('refuses a time in the future', async () => {
  const { code, stderr } = await runCommand(['replay-completed', '--since', '2999-01-01'])

  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('in the future') })
})
