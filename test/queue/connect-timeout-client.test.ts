/** A worker whose attempt to connect gets no answer. */
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { inboundJob } from '../support/inbound-queue.ts'
import { consume, openPostgresQueue, startSilentServer } from './postgres-queue.ts'

test('a worker whose first connection gets no answer soon opens another one', async () => {
  const { backend, relay, database } = await openPostgresQueue()
  const silent = await startSilentServer()
  relay.redirect(silent.url)
  const { ran } = consume(backend)
  await eventually(() => expect(silent.connections()).toBeGreaterThan(0))

  relay.redirect(database.url)
  await eventually(() => backend.createInboundAdd()([inboundJob('wamid.A')]))

  await eventually(() => expect(ran).toEqual(['wamid.A']), { timeoutMs: 10_000 })
})

test('a worker whose new connection for waiting gets no answer soon opens another one', async () => {
  const { backend, relay, database } = await openPostgresQueue()
  const add = backend.createInboundAdd()
  await add([inboundJob('wamid.A')])
  const { ran } = consume(backend)
  await eventually(() => expect(ran).toEqual(['wamid.A']))
  const silent = await startSilentServer()
  relay.redirect(silent.url)
  await eventually(async () => {
    // BullMQ names the session after the queue.
    const { rowCount } = await database.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'inbound'`,
    )
    expect(rowCount).toBe(1)
  })
  await eventually(() => expect(silent.connections()).toBeGreaterThan(0))

  relay.redirect(database.url)
  await add([inboundJob('wamid.B')])

  await eventually(() => expect(ran).toContain('wamid.B'), { timeoutMs: 10_000 })
})
