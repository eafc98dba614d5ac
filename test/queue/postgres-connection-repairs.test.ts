/** BullMQ's connections to PostgreSQL when the first ones fail, and when they die silently. */
import { Queue } from 'bullmq'
import { expect, test } from 'vitest'
import { QUEUE_SCHEMA } from '../../src/queue/names.ts'
import { migrateQueueSchema } from '../../src/queue/postgres-backend.ts'
import { createRepairedBackends } from '../../src/queue/postgres-connection-repairs.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { inboundJob } from '../support/inbound-queue.ts'
import { createEmptyDatabase } from '../support/postgres.ts'
import { openTcpRelay } from '../support/tcp-relay.ts'
import { consume, openPostgresQueue, startClosingServer } from './postgres-queue.ts'

const CONNECTIONS = 5

test('closes the idle connections when it finds a dead one, so that the next query is answered', async () => {
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
    createRepairedBackends(() => silences++),
  )
  queue.on('error', () => {})
  cleanUp(async () => {
    relay.cutSevered()
    await queue.close()
  })
  // Waits for the version that BullMQ writes by itself.
  await queue.getVersion()
  // Opens as many connections as the pool allows; all of them are idle afterwards.
  await Promise.all(Array.from({ length: CONNECTIONS * 2 }, () => queue.getJobCounts()))

  relay.sever()

  await expect(queue.getJobCounts()).rejects.toThrow('Query read timeout')
  expect(await queue.getJobCounts()).toMatchObject({ waiting: 0 })
  expect(silences).toBe(1)
})

test('a producer whose first connection was cut adds as soon as the server is back', async () => {
  const { backend, relay, database } = await openPostgresQueue()
  relay.redirect((await startClosingServer()).url)
  const add = backend.createInboundAdd()
  await expect(add([inboundJob('wamid.lost')])).rejects.toThrow('Connection terminated')

  relay.redirect(database.url)

  await add([inboundJob('wamid.A')])
  expect(await backend.createQueue('inbound').getJobCounts('wait')).toEqual({ wait: 1 })
})

test('a worker whose first connections were cut does not block the process, and runs jobs added later', async () => {
  const { backend, relay, database } = await openPostgresQueue()
  const closing = await startClosingServer()
  relay.redirect(closing.url)
  const { ran } = consume(backend)
  await eventually(() => expect(closing.connections()).toBeGreaterThan(3))

  relay.redirect(database.url)
  await eventually(() => backend.createInboundAdd()([inboundJob('wamid.A')]))

  await eventually(() => expect(ran).toEqual(['wamid.A']))
})

test('a connection that is cut while BullMQ checks the schema does not end the process', async () => {
  const { backend, relay, database } = await openPostgresQueue()
  const uncaught = collect('uncaughtException')
  const holder = await database.pool.connect()
  await holder.query(`BEGIN; LOCK TABLE ${QUEUE_SCHEMA}.migration IN ACCESS EXCLUSIVE MODE`)
  const adding = backend.createInboundAdd()([inboundJob('wamid.A')])
  await eventually(async () => {
    const { rowCount } = await database.pool.query('SELECT FROM pg_locks WHERE NOT granted')
    expect(rowCount).toBe(1)
  })

  const cut = relay.takeDown()

  await expect(adding).rejects.toThrow()
  await cut
  holder.release(true)
  expect(uncaught).toEqual([])
})

function collect(event: 'uncaughtException'): unknown[] {
  const seen: unknown[] = []
  const listener = (err: unknown) => seen.push(err)
  process.on(event, listener)
  cleanUp(() => process.off(event, listener))
  return seen
}
