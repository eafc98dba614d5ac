import { sql } from 'kysely'
import type { Pool } from 'pg'
import { describe, expect, test } from 'vitest'
import { migrations } from '../../migrations/index.ts'
import { ensureQuarantine } from '../../src/db/any-table/quarantine.ts'
import { queryWithKysely } from '../../src/db/any-table/query.ts'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import {
  assertSchemaIsCurrent,
  findAppliedMigrations,
  migrateToLatest,
  SchemaError,
} from '../../src/db/migrate.ts'
import { cleanUp } from '../support/clean-up.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/postgres.ts'

const NAMES = Object.keys(migrations)

/** A connection as another process has it. */
function connectAnew({ url }: TestDatabase) {
  const db = createDatabase(createPool({ url, applicationName: 'test', max: 1 }))
  cleanUp(() => db.destroy())
  return db
}

describe('an empty database', () => {
  test('gets every migration, in order', async () => {
    const { db } = await createEmptyDatabase()

    const result = await migrateToLatest(db)

    expect(result).toEqual({ applied: NAMES })
    expect(await findAppliedMigrations(db)).toEqual(NAMES)
  })

  test('is migrated once when several processes do it at the same time', async () => {
    const database = await createEmptyDatabase()
    const processes = Array.from({ length: 4 }, () => connectAnew(database))
    let waits = 0

    const results = await Promise.all(processes.map((db) => migrateToLatest(db, { onWait: () => waits++ })))

    const applied = results.map((result) => result.applied).sort((a, b) => b.length - a.length)
    expect(applied).toEqual([NAMES, [], [], []])
    expect(waits).toBeGreaterThan(0)
  })

  test('is left empty when a migration fails', async () => {
    const { db, pool } = await createEmptyDatabase()
    await pool.query(
      `CREATE SCHEMA elsewhere;
       CREATE FUNCTION elsewhere.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no functions here'; END $$;
       CREATE EVENT TRIGGER no_functions ON ddl_command_start WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION elsewhere.refuse()`,
    )

    const failure = await migrateToLatest(db).catch((err) => err)

    expect(failure).toBeInstanceOf(SchemaError)
    expect(failure.message).toBe('migration 0001-initial failed: no functions here')
    expect(await findAppliedMigrations(db)).toEqual([])
    const { rows } = await pool.query(`SELECT to_regclass('chat_messages') AS chat_messages`)
    expect(rows).toEqual([{ chat_messages: null }])
  })
})

describe('a database that is migrated', () => {
  test('is current, and migrating it again does nothing', async () => {
    const { db } = await createTestDatabase()

    await assertSchemaIsCurrent(db)
    expect(await migrateToLatest(db)).toEqual({ applied: [] })
  })

  test('keeps its migrations apart from those of an application that uses Kysely too', async () => {
    const { db, pool } = await createEmptyDatabase()
    await pool.query(`
      CREATE TABLE kysely_migration (name varchar(255) PRIMARY KEY, timestamp varchar(255) NOT NULL);
      INSERT INTO kysely_migration VALUES ('2020-theirs', '2020-01-01')`)

    expect(await migrateToLatest(db)).toEqual({ applied: NAMES })
  })

  test('goes into the schema of search_path, whatever another schema has', async () => {
    const { url, pool, db } = await createTestDatabase()
    await pool.query('CREATE SCHEMA tenant')
    const tenantUrl = new URL(url)
    tenantUrl.searchParams.set('options', '-c search_path=tenant')
    const tenant = createDatabase(createPool({ url: tenantUrl.href, applicationName: 'test', max: 1 }))
    cleanUp(() => tenant.destroy())

    expect(await migrateToLatest(tenant)).toEqual({ applied: NAMES })
    expect(await migrateToLatest(db)).toEqual({ applied: [] })
  })

  test('by a newer version is refused, with what to do', async () => {
    const { db, pool } = await createTestDatabase()
    await pool.query(`INSERT INTO wa_ingest_migrations VALUES ('9999-future', now())`)

    const reason =
      'the database is newer than this version of wa-ingest: it has the migration 9999-future; run the version that made it, or a later one'
    await expect(migrateToLatest(db)).rejects.toThrow(reason)
    await expect(assertSchemaIsCurrent(db)).rejects.toThrow(reason)
  })

  test('by an older version lacks a migration, and the check says which', async () => {
    const { db, pool } = await createTestDatabase()
    const last = NAMES.at(-1)
    await pool.query('DELETE FROM wa_ingest_migrations WHERE name = $1', [last])

    await expect(assertSchemaIsCurrent(db)).rejects.toThrow(
      `the database lacks the migration ${last}; run: npx wa-ingest migrate`,
    )
  })

  test('not at all is refused by the check', async () => {
    const { db } = await createEmptyDatabase()

    await expect(assertSchemaIsCurrent(db)).rejects.toThrow(
      'the database has no wa-ingest tables; run: npx wa-ingest migrate',
    )
  })
})

describe('a database that only dedupe has worked in', () => {
  test('keeps its quarantine, and gets the other tables', async () => {
    const { db, pool } = await createEmptyDatabase()
    await pool.query('CREATE TABLE message (id int PRIMARY KEY)')
    const query = queryWithKysely(db)
    const { rows } = await query<{ oid: string }>(`SELECT 'message'::regclass::oid::text AS oid`)
    await ensureQuarantine(query, { oid: rows[0]?.oid ?? '', quarantine: 'public.chat_messages_duplicates' })
    await pool.query(
      `INSERT INTO chat_messages_duplicates (run_id, original_id, kept_id, wa_message_id, reason, "row") VALUES (gen_random_uuid(), '2', '1', 'a', 'duplicate', '{}')`,
    )

    expect(await migrateToLatest(db)).toEqual({ applied: NAMES })

    await assertSchemaIsCurrent(db)
    const quarantined = await pool.query('SELECT original_id FROM chat_messages_duplicates')
    expect(quarantined.rows).toEqual([{ original_id: '2' }])
    expect(await describeQuarantine(pool)).toEqual(
      await describeQuarantine((await createTestDatabase()).pool),
    )
  })

  test('is refused where the table with that name is another', async () => {
    const { db, pool } = await createEmptyDatabase()
    await pool.query('CREATE TABLE chat_messages_duplicates (id bigint PRIMARY KEY, kept_id text)')

    await expect(migrateToLatest(db)).rejects.toThrow(
      'the database has tables of another system (chat_messages_duplicates); to take them over run: npx wa-ingest migrate',
    )
  })
})

test('a database without any schema says how to make one', async () => {
  const { db, pool } = await createEmptyDatabase()
  await pool.query('DROP SCHEMA public')

  await expect(migrateToLatest(db)).rejects.toThrow('run: CREATE SCHEMA public')
})

test('waiting for another process ends with the signal', async () => {
  const database = await createEmptyDatabase()
  const holder = connectAnew(database)
  const stop = new AbortController()
  let waiting: Promise<unknown> = Promise.resolve()
  await holder.connection().execute(async (connection) => {
    await sql`SELECT pg_advisory_lock(${0x77_61_2d_6d})`.execute(connection)
    waiting = migrateToLatest(connectAnew(database), {
      signal: stop.signal,
      onWait: () => stop.abort(new Error('stopped')),
    })
    await expect(waiting).rejects.toThrow()
  })
})

/** Its columns and indexes, as PostgreSQL prints them. */
async function describeQuarantine(pool: Pool) {
  const table = `'chat_messages_duplicates'::regclass`
  const columns = await pool.query(
    `SELECT attname, format_type(atttypid, atttypmod), attnotnull, attidentity FROM pg_attribute WHERE attrelid = ${table} AND attnum > 0`,
  )
  const indexes = await pool.query(
    `SELECT pg_get_indexdef(indexrelid) AS definition FROM pg_index WHERE indrelid = ${table} ORDER BY 1`,
  )
  return { columns: columns.rows, indexes: indexes.rows }
}
