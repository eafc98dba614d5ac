import { expect, test } from 'vitest'
import { createPool } from '../../../src/db/connect.ts'
import { openSession } from '../../../src/db/dedupe/session.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { createEmptyDatabase } from '../../support/postgres.ts'

const LIMITS = [
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'statement_timeout',
  'transaction_timeout',
]

test('no limit of the database ends a run or the connection that watches it', async () => {
  const database = await createEmptyDatabase()
  for (const name of LIMITS) await database.pool.query(`ALTER DATABASE ${database.name} SET ${name} = '1h'`)
  const pool = createPool({ url: database.url, applicationName: 'test', max: 2 })
  cleanUp(() => pool.end())
  const table = { oid: '1', schema: 'public', name: 't', sql: 'public.t', label: 't' }

  const session = await openSession(pool, table, new AbortController().signal)
  cleanUp(() => session.end())

  const limits = 'SELECT name, setting FROM pg_settings WHERE name = ANY($1) ORDER BY name'
  const none = LIMITS.map((name) => ({ name, setting: '0' }))
  expect((await session.query(limits, [LIMITS])).rows).toEqual(none)
  const ofWatcher = (await session.watch(limits, [LIMITS])).rows
  expect(ofWatcher).toContainEqual({ name: 'idle_session_timeout', setting: '0' })
})
