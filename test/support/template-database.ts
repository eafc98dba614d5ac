/** The database that every test's database is a clone of: migrated once for the whole run. */
import pg from 'pg'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { migrateToLatest } from '../../src/db/migrate.ts'

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
  const db = createDatabase(createPool({ url: url.href, applicationName: 'test template', max: 2 }))
  await migrateToLatest(db)
  await db.destroy()
}
