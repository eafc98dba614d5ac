/** BullMQ's worker on a PostgreSQL that refuses to work, and its checks for stalled jobs. */
import { PostgresQueueBackend } from 'bullmq'
import { expect, test, vi } from 'vitest'
import type { QueueBackend } from '../../src/queue/backend.ts'
import { QUEUE_SCHEMA } from '../../src/queue/names.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { inboundJob } from '../support/inbound-queue.ts'
import type { TestDatabase } from '../support/postgres.ts'
import { consume, openPostgresQueue, startClosingServer } from './postgres-queue.ts'

const HOUR_MS = 3_600_000

test.each([
  { work: 'a backlog', backlog: 3 },
  { work: 'nothing to do', backlog: 0 },
])('a worker with $work does not storm a server that closes every connection', async ({ backlog }) => {
  const { backend, relay, database } = await openPostgresQueue()
  const add = backend.createInboundAdd()
  for (let number = 0; number < backlog; number++) await add([inboundJob(`wamid.${number}`)])
  const isAway = Promise.withResolvers<void>()
  const { ran } = consume(backend, () => isAway.promise)
  await eventually(async () => expect(backlog > 0 ? ran : await listening(database)).toHaveLength(1))
  const closing = await startClosingServer()
  relay.redirect(closing.url)

  await endSessions(database)
  isAway.resolve()
  const startedAt = performance.now()
  await eventually(() => expect(closing.connections()).toBeGreaterThan(12))
  expect(performance.now() - startedAt).toBeGreaterThan(2_000)

  relay.redirect(database.url)
  await eventually(() => add([inboundJob('wamid.last')]))
  await eventually(() => expect(ran).toContain('wamid.last'))
})

test('repeats a failed check for stalled jobs at the next interval', async () => {
  const { backend, database, errors } = await openPostgresQueue()
  const check = `${QUEUE_SCHEMA}.move_stalled_jobs_to_wait`
  await addStalledJob(backend, database, 'wamid.stalled')
  await database.pool.query(`ALTER FUNCTION ${check} RENAME TO away`)
  const { ran } = consume(backend)
  await eventually(() => expect(errors.map(String).join()).toContain('move_stalled_jobs_to_wait'))

  await database.pool.query(`ALTER FUNCTION ${QUEUE_SCHEMA}.away RENAME TO move_stalled_jobs_to_wait`)

  await eventually(() => expect(ran).toEqual(['wamid.stalled']), { timeoutMs: 5_000 })
})

test('finds stalled jobs although the last check was by a worker whose clock was ahead', async () => {
  const { backend, database } = await openPostgresQueue()
  await addStalledJob(backend, database, 'wamid.stalled')
  await database.pool.query(
    `INSERT INTO ${QUEUE_SCHEMA}.meta (queue, field, value) VALUES ('inbound', 'stalled-check', $1)`,
    [String(Date.now() + HOUR_MS)],
  )

  const { ran } = consume(backend)

  await eventually(() => expect(ran).toEqual(['wamid.stalled']), { timeoutMs: 10_000 })
})

test('a worker whose wait has failed once still finds a job that is added without a notification', async () => {
  const { backend, database } = await openPostgresQueue()
  await backend.createInboundAdd()([inboundJob('wamid.A')])
  await database.pool.query(`UPDATE ${QUEUE_SCHEMA}.job SET state = 'failed'`)
  const waitForJob = vi.spyOn(PostgresQueueBackend.prototype, 'waitForJob')
  cleanUp(() => waitForJob.mockRestore())
  waitForJob.mockRejectedValueOnce(new Error('Connection terminated unexpectedly'))
  const { ran } = consume(backend)
  await eventually(async () => expect(await listening(database)).toHaveLength(1))

  await database.pool.query(`UPDATE ${QUEUE_SCHEMA}.job SET state = 'waiting'`)

  await eventually(() => expect(ran).toEqual(['wamid.A']), { timeoutMs: 10_000 })
})

/** A job in the state in which a killed worker leaves it. */
async function addStalledJob(backend: QueueBackend, { pool }: TestDatabase, id: string): Promise<void> {
  await backend.createInboundAdd()([inboundJob(id)])
  await pool.query(
    `UPDATE ${QUEUE_SCHEMA}.job SET state = 'active', lock_token = 'gone', locked_until_ms = $1`,
    [Date.now() - 1],
  )
}

/** The sessions of workers that wait for jobs. */
async function listening({ pool }: TestDatabase): Promise<unknown[]> {
  const { rows } = await pool.query(
    `SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND state = 'idle' AND query LIKE '%LISTEN bullmq_jobs%'`,
  )
  return rows
}

async function endSessions({ pool }: TestDatabase): Promise<void> {
  await pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  )
}
