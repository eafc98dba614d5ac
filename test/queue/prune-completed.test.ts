import { beforeEach, expect, test } from 'vitest'
import { QUEUE_SCHEMA } from '../../src/queue/names.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { KEEP_COMPLETED_MS } from '../../src/queue/prune-completed.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { inboundJob } from '../support/inbound-queue.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
  await migrateQueueSchema(database.url)
})

test('completes a job while another session removes old ones, and removes the rest later', async () => {
  const failed: Error[] = []
  const backend = openPostgresBackend({ databaseUrl: database.url, onError: () => {} })
  cleanUp(() => backend.close())
  const add = backend.createInboundAdd()
  await add([inboundJob('wamid.old'), inboundJob('wamid.older')])
  await database.pool.query(`UPDATE ${QUEUE_SCHEMA}.job SET state = 'completed', finished_at_ms = $1`, [
    Date.now() - KEEP_COMPLETED_MS,
  ])
  const other = await database.pool.connect()
  await other.query('BEGIN')
  await other.query(`DELETE FROM ${QUEUE_SCHEMA}.job WHERE id = 'wamid.old'`)
  await add([inboundJob('wamid.new')])

  const consumer = backend.createInboundConsumer({
    concurrency: 1,
    process: async () => ({ outcome: 'stored' }),
    onFailed: (err) => failed.push(err),
  })
  consumer.run()
  cleanUp(() => consumer.close())

  await eventually(async () =>
    expect(await jobs()).toEqual({ 'wamid.new': 'completed', 'wamid.old': 'completed' }),
  )
  await other.query('ROLLBACK')
  other.release()
  await eventually(async () => expect(await jobs()).toEqual({ 'wamid.new': 'completed' }))
  expect(failed).toEqual([])
})

async function jobs(): Promise<Record<string, string>> {
  const { rows } = await database.pool.query(`SELECT id, state FROM ${QUEUE_SCHEMA}.job`)
  return Object.fromEntries(rows.map(({ id, state }) => [id, state]))
}
