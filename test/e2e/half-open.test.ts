/** Database sessions whose process is frozen or loses its connection without notice. */
import pg from 'pg'
import { expect, test } from 'vitest'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { metaTextWebhook, wamid } from '../support/meta-webhooks.ts'
import { hasRedis } from '../support/redis.ts'
import { startService, type TestService } from '../support/service.ts'

const SECOND = 1000

test.skipIf(!hasRedis)(
  'a worker that stands still in the middle of a transaction does not hold up the others',
  async () => {
    const service = await startService({ backend: 'redis', workers: 1 })
    const id = wamid()
    const release = await holdUpWriters(service)
    await service.deliver(metaTextWebhook({ id }))
    await untilWriterWaits(service)
    service.workers[0]?.kill('SIGSTOP')
    await release()

    await service.startWorker()

    await isStored(service, id, 25 * SECOND)
  },
)

test.skipIf(!hasRedis)(
  'a session that was cut off in the middle of a transaction is given up by both sides',
  async () => {
    const service = await startService({ backend: 'redis', workers: 1 })
    const id = wamid()
    const release = await holdUpWriters(service)
    await service.deliver(metaTextWebhook({ id }))
    await untilWriterWaits(service)
    service.databaseProxy.sever()
    await release()

    await isStored(service, id, 15 * SECOND)
  },
)

/** Makes writers stop inside their transaction, after the insert of messages, until it is released. */
async function holdUpWriters({ database }: TestService): Promise<() => Promise<void>> {
  const client = new pg.Client(database.url)
  client.on('error', () => {})
  await client.connect()
  cleanUp(() => client.end())
  await client.query('BEGIN')
  await client.query('LOCK TABLE counters IN SHARE ROW EXCLUSIVE MODE')
  return async () => {
    await client.query('COMMIT')
  }
}

async function untilWriterWaits({ database }: TestService): Promise<void> {
  await eventually(async () => {
    const { rows } = await database.pool.query(
      `SELECT 1 FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO counters%'`,
    )
    expect(rows).toHaveLength(1)
  })
}

async function isStored({ database }: TestService, id: string, timeoutMs: number): Promise<void> {
  await eventually(
    async () => {
      const { rows } = await database.pool.query('SELECT 1 FROM chat_messages WHERE wa_message_id = $1', [id])
      expect(rows).toHaveLength(1)
    },
    { timeoutMs },
  )
}
