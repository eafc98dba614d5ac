/** Databases on the shared PostgreSQL, each a clone of the migrated template that nobody else uses. */
import { randomBytes } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { inject } from 'vitest'
import type { Database } from '../../src/db/schema.ts'
import { cleanUp } from './clean-up.ts'
import { TEMPLATE_DATABASE } from './template-database.ts'

export type TestDatabase = {
  /** As superuser. */
  url: string
  name: string
  pool: pg.Pool
  /** On the same pool. */
  db: Kysely<Database>
  /** Ends every connection to it. Called by itself when the test (outside of a test: the file) is over. */
  drop(): Promise<void>
}

/** A database with all tables and no rows. */
export function createTestDatabase(): Promise<TestDatabase> {
  return createDatabase(TEMPLATE_DATABASE)
}

/** A database without tables. */
export function createEmptyDatabase(): Promise<TestDatabase> {
  return createDatabase('template0')
}

/** A copy as it is now; ends every connection to the one that is copied. */
export async function cloneDatabase({ name }: TestDatabase): Promise<TestDatabase> {
  await runAsAdmin(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`)
  return createDatabase(name)
}

async function createDatabase(template: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString('hex')}`
  await runAsAdmin(`CREATE DATABASE ${name} TEMPLATE ${template}`)
  const url = new URL(inject('postgresUrl'))
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href })
  // Connections that the drop ends, also while the pool is letting go of them.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))

  let dropped: Promise<void> | undefined
  async function dropDatabase(): Promise<void> {
    await Promise.all([pool.end(), runAsAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)])
  }
  const database: TestDatabase = {
    url: url.href,
    name,
    pool,
    db: new Kysely<Database>({ dialect: new PostgresDialect({ pool }) }),
    drop() {
      dropped ??= dropDatabase()
      return dropped
    },
  }
  cleanUp(() => database.drop())
  return database
}

async function runAsAdmin(statement: string): Promise<void> {
  const admin = new pg.Client(inject('postgresUrl'))
  await admin.connect()
  try {
    await admin.query(statement)
  } finally {
    await admin.end()
  }
}
