/** BullMQ's connections to PostgreSQL when the other side is gone without a word. */
import { Queue } from 'bullmq'
import { expect, test } from 'vitest'
import { QUEUE_SCHEMA } from '../../src/queue/names.ts'
import { migrateQueueSchema } from '../../src/queue/postgres-backend.ts'
import { watchBackend } from '../../src/queue/watched-backend.ts'
import { cleanUp } from '../support/clean-up.ts'
import { createEmptyDatabase } from '../support/postgres.ts'
import { openTcpRelay } from '../support/tcp-relay.ts'

const CONNECTIONS = 5

test('the first dead connection that is found takes the idle ones with it, so that the next query is answered', async () => {
  const { url } = await createEmptyDatabase()
  await migrateQueueSchema(url)
  const relay = await openTcpRelay(url)
  cleanUp(() => relay.close())
  let silences = 0
  const connection = {
    connectionString: relay.url,
    schema: QUEUE_SCHEMA,
    max: CONNECTIONS,
    query_timeout: 1_000,
  }
  const queue = new Queue(
    'inbound',
    { connection },
    watchBackend(() => silences++),
  )
  queue.on('error', () => {})
  cleanUp(async () => {
    relay.cutSevered()
    await queue.close()
  })
  // As many connections as there may be, all of them idle afterwards.
  await Promise.all(Array.from({ length: CONNECTIONS * 2 }, () => queue.getJobCounts()))

  relay.sever()

  await expect(queue.getJobCounts()).rejects.toThrow('Query read timeout')
  expect(await queue.getJobCounts()).toMatchObject({ waiting: 0 })
  expect(silences).toBe(1)
})
