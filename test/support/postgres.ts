/** Databases on the shared PostgreSQL, each like the migrated template, and the caller's alone. */
import { randomBytes } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { inject } from 'vitest'
import type { Database } from '../../src/db/schema.ts'
import { cleanUp, cleanUpAtEndOfFile } from './clean-up.ts'
import { emptyDatabase } from './recycled-database.ts'
import { TEMPLATE_DATABASE } from './template-database.ts'

const SPARE = 'spare_'
const UNDEFINED_DATABASE = '3D000'

export type TestDatabase = {
  /** As superuser. */
  url: string
  name: string
  pool: pg.Pool
  /** Uses the same pool. */
  db: Kysely<Database>
  /** Ends every connection to it. The end of the test (outside of a test: of the file) does that too. */
  drop(): Promise<void>
}

/** A database with all tables and no rows. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = nextName()
  if (!(await takeSpare(name))) await clone(TEMPLATE_DATABASE, name)
  return open(name, recycle)
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
  const name = nextName()
  await clone(template, name)
  return open(name, dropDatabase)
}

function open(name: string, release: (name: string) => Promise<void>): TestDatabase {
  const url = urlOf(name)
  const pool = new pg.Pool({ connectionString: url })
  // Connections that the end of the database ends, also while the pool is letting go of them.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))

  let ended: Promise<unknown> | undefined
  const end = (how: (name: string) => Promise<void>) => {
    ended ??= Promise.all([pool.end(), how(name)])
    return ended
  }
  cleanUp(() => end(release))
  return {
    url,
    name,
    pool,
    db: new Kysely<Database>({ dialect: new PostgresDialect({ pool }) }),
    drop: async () => {
      await end(dropDatabase)
    },
  }
}

function nextName(): string {
  return `test_${randomBytes(8).toString('hex')}`
}

function urlOf(name: string): string {
  const url = new URL(inject('postgresUrl'))
  url.pathname = `/${name}`
  return url.href
}

async function clone(template: string, name: string): Promise<void> {
  // Half of the CPU time of the default, which writes every page to the log, on a server that does not wait for its disk.
  await runAsAdmin(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY file_copy`)
}

async function dropDatabase(name: string): Promise<void> {
  await runAsAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
}

/** Leaves it to a later test, of any file, under another name: what still wants to connect finds it gone. */
async function recycle(name: string): Promise<void> {
  if (await emptyDatabase(urlOf(name), inject('templateState')))
    await runAsAdmin(`ALTER DATABASE ${name} RENAME TO ${SPARE}${name}`)
  else await dropDatabase(name)
}

/** False where there is none. */
async function takeSpare(name: string): Promise<boolean> {
  for (;;) {
    const { rows } = await runAsAdmin(
      `SELECT datname FROM pg_database WHERE datname LIKE '${SPARE}%' ORDER BY random() LIMIT 1`,
    )
    if (rows.length === 0) return false
    try {
      await runAsAdmin(`ALTER DATABASE ${rows[0].datname} RENAME TO ${name}`)
      return true
    } catch (err) {
      // Another file has just taken it.
      if (!(err instanceof pg.DatabaseError && err.code === UNDEFINED_DATABASE)) throw err
    }
  }
}

let admin: Promise<pg.Client> | undefined

/** On one connection for the whole file. */
async function runAsAdmin(statement: string): Promise<pg.QueryResult> {
  admin ??= connectAsAdmin()
  return (await admin).query(statement)
}

async function connectAsAdmin(): Promise<pg.Client> {
  const client = new pg.Client(inject('postgresUrl'))
  await client.connect()
  cleanUpAtEndOfFile(() => {
    admin = undefined
    return client.end()
  })
  return client
}
