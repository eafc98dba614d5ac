import pg from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from './postgres.ts'
import { emptyDatabase } from './recycled-database.ts'

const EVENT = `INSERT INTO webhook_events (event_key, provider, kind, raw, received_at) VALUES ('a', 'meta', 'other', '', now())`

describe('a database that a test has used', () => {
  test('is empty again, counts from 1, and serves no one who was connected', async () => {
    const database = await createTestDatabase()
    const first = await insert(database)
    const before = await tablesWithRows(database)

    const left = await connect(database)
    expect(await emptyDatabase(database.url, inject('templateState'))).toBe(true)

    await expect(left.query('SELECT 1')).rejects.toThrow()
    expect(before).toContain('webhook_events')
    expect(await tablesWithRows(database)).toEqual(inject('templateState').seeded)
    expect(await insert(database)).toBe(first)
  })

  test.each([
    ['a table', 'CREATE TABLE other (id int)'],
    ['a column', 'ALTER TABLE webhook_events ADD COLUMN other int'],
    ['no index', 'DROP INDEX idx_chat_messages_wa_message_id_unique'],
    ['other rights', 'GRANT SELECT ON webhook_events TO PUBLIC'],
    ['a function', 'CREATE FUNCTION one() RETURNS int LANGUAGE sql AS $$SELECT 1$$'],
    [
      'a setting of its own',
      "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END$$",
    ],
    ['another state of the migrations', 'DELETE FROM wa_ingest_migrations'],
  ])('is not used again with %s', async (_, statement) => {
    const database = await createTestDatabase()
    await database.pool.query(statement)

    expect(await emptyDatabase(database.url, inject('templateState'))).toBe(false)
  })
})

async function insert({ pool }: TestDatabase): Promise<string> {
  const { rows } = await pool.query(`${EVENT} RETURNING id`)
  return rows[0].id
}

async function connect({ url }: TestDatabase): Promise<pg.Client> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  return client
}

async function tablesWithRows({ pool }: TestDatabase): Promise<string[]> {
  const { rows: tables } = await pool.query<{ name: string }>(
    `SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1`,
  )
  const filled: string[] = []
  for (const { name } of tables)
    if ((await pool.query(`SELECT FROM ${name} LIMIT 1`)).rows.length > 0) filled.push(name)
  return filled
}
