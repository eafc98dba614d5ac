import { expect, test } from 'vitest'
import { createPool } from '../../src/db/connect.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const openPool = (url: string, options: { queryTimeoutMs?: number } = {}) => {
  const pool = createPool({ url, applicationName: 'connect test', ...options })
  cleanUp(() => pool.end())
  return pool
}

test('a session that ends between two statements of a transaction fails the next statement, not the process', async () => {
  const database = await createTestDatabase()
  const pool = openPool(database.url)
  const client = await pool.connect()
  await client.query('BEGIN')
  const ended = new Promise((resolve) => client.once('end', resolve))

  await database.pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'connect test'`,
  )
  await ended

  await expect(client.query('SELECT 1')).rejects.toThrow()
  client.release()
  expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
})

test('when one connection is silent for too long, all idle ones are closed too', async () => {
  const database = await createTestDatabase()
  const proxy = await startTcpProxy(database.url)
  const pool = openPool(proxy.url, { queryTimeoutMs: 500 })
  const clients = await Promise.all(Array.from({ length: 5 }, () => pool.connect()))
  for (const client of clients) client.release()
  proxy.sever()

  await expect(pool.query('SELECT 1')).rejects.toThrow(/said nothing for 500 ms/)

  await eventually(() => expect(pool.totalCount).toBe(0))
  expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
})

test('a connection to a server that answers in time is never closed, however long it is used or idle', async () => {
  const database = await createTestDatabase()
  const pool = openPool(database.url, { queryTimeoutMs: 400 })
  const client = await pool.connect()
  const session = async () => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0]?.pid
  const pid = await session()

  for (let turn = 0; turn < 3; turn++) await client.query('SELECT pg_sleep(0.2)')

  expect(await session()).toBe(pid)
  client.release()
})
