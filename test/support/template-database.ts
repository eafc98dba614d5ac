/** The database that every test's database is a clone of: migrated once for the whole run. */
import pg from 'pg'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { migrateToLatest } from '../../src/db/migrate.ts'
import { readTemplateState, type TemplateState } from './recycled-database.ts'

export const TEMPLATE_DATABASE = 'wa_ingest_template'

/** Nobody may connect to it afterwards: a template in use cannot be cloned. */
export async function createTemplateDatabase(serverUrl: string): Promise<TemplateState> {
  const admin = new pg.Client(serverUrl)
  await admin.connect()
  try {
    await admin.query(`CREATE DATABASE ${TEMPLATE_DATABASE}`)
    const state = await migrate(serverUrl)
    await admin.query(`ALTER DATABASE ${TEMPLATE_DATABASE} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false`)
    return state
  } finally {
    await admin.end()
  }
}

async function migrate(serverUrl: string): Promise<TemplateState> {
  const url = new URL(serverUrl)
  url.pathname = `/${TEMPLATE_DATABASE}`
  const db = createDatabase(createPool({ url: url.href, applicationName: 'test template', max: 2 }))
  await migrateToLatest(db)
  await db.destroy()
  const client = new pg.Client(url.href)
  await client.connect()
  try {
    return await readTemplateState(client)
  } finally {
    await client.end()
  }
}
