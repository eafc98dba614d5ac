/** The database that every test's database is a clone of: migrated once for the whole run. */
import { Kysely, PostgresDialect } from 'kysely'
import { Migrator } from 'kysely/migration'
import pg from 'pg'
import { migrations } from '../../migrations/index.ts'

export const TEMPLATE_DATABASE = 'wa_ingest_template'

/** Nobody may connect to it afterwards: a template in use cannot be cloned. */
export async function createTemplateDatabase(serverUrl: string): Promise<void> {
  const admin = new pg.Client(serverUrl)
  await admin.connect()
  try {
    await admin.query(`CREATE DATABASE ${TEMPLATE_DATABASE}`)
    await migrate(serverUrl)
    await admin.query(`ALTER DATABASE ${TEMPLATE_DATABASE} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false`)
  } finally {
    await admin.end()
  }
}

async function migrate(serverUrl: string): Promise<void> {
  const url = new URL(serverUrl)
  url.pathname = `/${TEMPLATE_DATABASE}`
  const pool = new pg.Pool({ connectionString: url.href, max: 2 })
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
  const provider = { getMigrations: () => Promise.resolve(migrations) }
  const { error } = await new Migrator({ db, provider }).migrateToLatest()
  await db.destroy()
  if (error) throw error
}
