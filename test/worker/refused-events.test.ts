/** The inbound worker while the user's own trigger refuses messages. */
import type { Queue } from 'bullmq'
import { beforeEach, describe, expect, test } from 'vitest'
import { createEventStore } from '../../src/db/ingest/event-store.ts'
import { reprocessParkedEvents } from '../../src/db/reprocess/events.ts'
import { messageIdFinder, normalize, PROVIDERS } from '../../src/providers/index.ts'
import { parseMetaWebhook } from '../../src/providers/meta/parse.ts'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { openRedisBackend } from '../../src/queue/redis-backend.ts'
import { createInboundWorker } from '../../src/worker/inbound-worker.ts'
import { BACKENDS, type Backend } from '../support/backends.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { metaMessage, metaMessagesWebhook } from '../support/meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { takeRedisUrl } from '../support/redis.ts'
import { PARSER, reprocessOptions } from '../support/reprocessing.ts'

describe.each(BACKENDS)('on %s', (kind) => {
  let database: TestDatabase
  let backend: QueueBackend
  let queue: Queue
  let warnings: string[]

  beforeEach(async () => {
    database = await createTestDatabase()
    backend = await openBackend(kind, database)
    cleanUp(() => backend.close())
    queue = backend.createQueue('inbound')
    warnings = []
    await database.pool.query(`
      CREATE FUNCTION users_rule() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.content LIKE 'bad%' THEN RAISE EXCEPTION 'not %', NEW.content; END IF; RETURN NEW; END $$;
      CREATE TRIGGER users_rule BEFORE INSERT ON chat_messages FOR EACH ROW EXECUTE FUNCTION users_rule()`)
  })

  const add = async (...texts: string[]) => {
    const addJobs = backend.createInboundAdd()
    await backend.ready()
    await addJobs(
      texts.flatMap((body) => {
        const message = metaMessage({ id: `wamid.${Buffer.from(body).toString('base64')}`, text: { body } })
        return parseMetaWebhook(Buffer.from(JSON.stringify(metaMessagesWebhook([message]))), Date.now())
      }),
    )
  }
  const startWorker = () => {
    const store = createEventStore({ db: database.db, onSuspect: (_item, reason) => warnings.push(reason) })
    const observer = { onOutcome: () => {}, onPause: () => {}, onFailed: () => {} }
    const findMessageId = messageIdFinder(PROVIDERS)
    const worker = createInboundWorker({
      backend,
      store,
      normalize,
      findMessageId,
      concurrency: 64,
      observer,
    })
    worker.run()
    cleanUp(() => worker.close())
  }
  const counts = async () => {
    const { rows } = await database.pool.query(`
      SELECT (SELECT count(*)::integer FROM chat_messages) AS stored,
        (SELECT count(*)::integer FROM webhook_events) AS parked`)
    return rows[0]
  }
  const dropTrigger = () => database.pool.query('DROP TRIGGER users_rule ON chat_messages')
  const numbered = (text: string, count: number) => Array.from({ length: count }, (_, n) => `${text} ${n}`)

  test('one message among many is parked with the reason, and reprocess brings it in', async () => {
    await add(...numbered('good', 60), 'bad', ...numbered('also good', 60))
    startWorker()

    await eventually(async () => expect(await counts()).toEqual({ stored: 120, parked: 0 }))
    await add('the next one')
    await eventually(async () => expect(await counts()).toEqual({ stored: 121, parked: 1 }))

    const reason = 'refused by PostgreSQL: SQLSTATE P0001 in function users_rule'
    expect(warnings).toEqual([reason])
    const { rows } = await database.pool.query('SELECT reason FROM webhook_events')
    expect(rows).toEqual([{ reason }])
    expect((await queue.getJob(`wamid.${Buffer.from('bad').toString('base64')}`))?.attemptsMade).toBe(1)
    await dropTrigger()
    const store = createEventStore({ db: database.db, isCounted: false })
    await reprocessParkedEvents({ db: database.db, store, parser: PARSER }, reprocessOptions())
    expect(await counts()).toMatchObject({ stored: 122 })
  })

  test('more of them than a worker takes at a time, at the front of the queue, hold up nothing', async () => {
    await add(...numbered('bad', 150), ...numbered('good', 20))
    startWorker()

    await eventually(async () => expect(await counts()).toMatchObject({ stored: 20 }))
    await add('the next one')
    await eventually(async () => expect(await counts()).toEqual({ stored: 21, parked: 150 }))
  })

  test('when all are refused none is parked, and all are stored when the trigger is gone', async () => {
    await add(...numbered('bad', 100))
    startWorker()
    await eventually(() => expect(warnings).toHaveLength(100))

    await dropTrigger()

    await eventually(async () => expect(await counts()).toEqual({ stored: 100, parked: 0 }))
    await eventually(async () => expect(await queue.getCompletedCount()).toBe(100))
  })
})

async function openBackend(kind: Backend, { url }: TestDatabase): Promise<QueueBackend> {
  const onError = () => {}
  if (kind === 'redis')
    return openRedisBackend({
      redis: { url: await takeRedisUrl(), clusterNodes: [], sentinels: [] },
      onError,
    })
  await migrateQueueSchema(url)
  return openPostgresBackend({ databaseUrl: url, onError })
}
