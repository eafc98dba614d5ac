import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { checkPostgresSafety } from '../../src/db/postgres-safety.ts'
import { cleanUp } from '../support/clean-up.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/postgres.ts'

const INDEX = 'idx_chat_messages_wa_message_id_unique'
const INDEX_FINDING = 'postgresql unique index on chat_messages (wa_message_id)'

describe('the settings of PostgreSQL', () => {
  test('of a migrated database are safe, except those that the test server gives up for speed', async () => {
    const database = await createTestDatabase()

    expect(await findingsBesideServer(database)).toEqual([])
  })

  test('include those that the test server gives up for speed', async () => {
    const database = await createTestDatabase()
    const { rows } = await database.pool.query(
      `SELECT 'postgresql ' || name AS setting, setting AS actual FROM pg_settings
        WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY 1`,
    )

    const findings = await checkPostgresSafety(database.pool)

    const found = findings.filter(({ setting }) => /fsync|full_page_writes/.test(setting))
    expect(found.map(({ setting, actual }) => ({ setting, actual }))).toEqual(rows)
  })

  test.each([
    ['off', ['off']],
    ['local', []],
    ['on', []],
    ['remote_apply', []],
  ])('synchronous_commit = %s for the role and database is seen', async (value, found) => {
    const database = await createTestDatabase()
    await database.pool.query(`ALTER DATABASE ${database.name} SET synchronous_commit = ${value}`)
    const pool = openPool(database.url)

    const findings = await checkPostgresSafety(pool)

    const commit = findings.filter(({ setting }) => setting === 'postgresql synchronous_commit')
    expect(commit.map(({ actual }) => actual)).toEqual(found)
  })

  test.each([
    [30_000, ['behind the clock of this machine']],
    [-30_000, ['ahead of the clock of this machine']],
    [1_000, []],
  ])('a machine whose clock is %d ms ahead is told by the server', async (aheadMs, expected) => {
    const database = await createTestDatabase()

    const findings = await checkPostgresSafety(database.pool, { now: () => Date.now() + aheadMs })

    const clock = findings.filter(({ setting }) => setting === 'postgresql clock')
    expect(clock.map(({ actual }) => actual.replace(/^[\d.]+ s /, ''))).toEqual(expected)
  })

  test('time-outs that a pooler has to set are reported behind a pooler only', async () => {
    const database = await createTestDatabase()
    const withTimeouts = openPool(
      `${database.url}?options=${encodeURIComponent('-c statement_timeout=6s -c idle_in_transaction_session_timeout=5s')}`,
    )
    const settingsOf = async (pool: pg.Pool, isPooled: boolean) =>
      (await checkPostgresSafety(pool, { isPooled }))
        .map(({ setting }) => setting)
        .filter((setting) => setting.endsWith('timeout'))

    expect(await settingsOf(database.pool, true)).toEqual([
      'postgresql idle_in_transaction_session_timeout',
      'postgresql statement_timeout',
    ])
    expect(await settingsOf(withTimeouts, true)).toEqual([])
    expect(await settingsOf(database.pool, false)).toEqual([])
  })

  test('an unlogged table is unsafe', async () => {
    const database = await createTestDatabase()
    await database.pool.query('ALTER TABLE webhook_events SET UNLOGGED')

    expect(await findingsBesideServer(database)).toMatchObject([
      { setting: 'postgresql table webhook_events', actual: 'unlogged', severity: 'unsafe' },
    ])
  })
})

describe('the unique index', () => {
  test.each([
    ['gone', `DROP INDEX ${INDEX}`],
    ['no longer unique', `DROP INDEX ${INDEX}; CREATE INDEX ${INDEX} ON chat_messages (wa_message_id)`],
    [
      'one that leaves some messages out',
      `DROP INDEX ${INDEX}; CREATE UNIQUE INDEX ${INDEX} ON chat_messages (wa_message_id) WHERE direction = 'inbound'`,
    ],
    ['invalid', `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '${INDEX}'::regclass`],
  ])('that is %s is unsafe', async (_, statement) => {
    const database = await createTestDatabase()
    await database.pool.query(statement)

    expect(await findingsBesideServer(database)).toMatchObject([
      { setting: INDEX_FINDING, actual: 'missing or invalid', severity: 'unsafe' },
    ])
  })

  test('may have another name, or no predicate', async () => {
    const database = await createTestDatabase()
    await database.pool.query(
      `DROP INDEX ${INDEX}; CREATE UNIQUE INDEX mine ON chat_messages (wa_message_id)`,
    )

    expect(await findingsBesideServer(database)).toEqual([])
  })

  test('of a database that was not migrated is reported as missing its table', async () => {
    const database = await createEmptyDatabase()

    expect(await findingsBesideServer(database)).toMatchObject([
      { setting: INDEX_FINDING, actual: 'without its table', advice: 'run npx wa-ingest migrate' },
    ])
  })

  test('is checked without storing anything', async () => {
    const database = await createTestDatabase()

    await checkPostgresSafety(database.pool)

    expect((await database.pool.query('SELECT 1 FROM chat_messages')).rows).toEqual([])
  })
})

test('a server that is away is an error', async () => {
  const pool = openPool('postgres://postgres@127.0.0.1:1/none')

  await expect(checkPostgresSafety(pool)).rejects.toThrow(/ECONNREFUSED/)
})

/** Without the findings that the test server has in every test, because it runs without fsync. */
async function findingsBesideServer({ pool }: TestDatabase) {
  const findings = await checkPostgresSafety(pool)
  return findings.filter(({ setting }) => !/fsync|full_page_writes|synchronous_commit/.test(setting))
}

function openPool(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url })
  pool.on('error', () => {})
  cleanUp(() => pool.end())
  return pool
}
