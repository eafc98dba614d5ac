/** The databases that those of the measurements are copied from, and those with millions of rows, which are kept. */

import { withClient } from '../../rig/with-client.ts'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { migrateToLatest } from '../../src/db/migrate.ts'
import { APP_TABLES } from '../contenders/app-tables.ts'
import type { Contender } from '../contenders.ts'
import { fillLargeTable } from './large-table.ts'
import type { BenchPostgres } from './postgres.ts'

export type Tables = Contender['tables']

export type Templates = {
  /** A new database with these tables. */
  create(name: string, tables: Tables): Promise<void>
  /** The database with these tables and many rows; the same one every time, made when it is first asked for. */
  openLarge(tables: Tables): Promise<string>
  dropAll(): Promise<void>
}

/** Where queues in PostgreSQL keep their jobs. */
const QUEUE_SCHEMAS = ['bullmq', 'pgboss', 'graphile_worker']

export type TemplatesOptions = {
  postgres: BenchPostgres
  /** Of all databases. */
  prefix: string
  largeRows: number
  onLog: (line: string) => void
}

export function createTemplates({ postgres, prefix, largeRows, onLog }: TemplatesOptions): Templates {
  const made = new Set<string>()
  const nameOf = (kind: 'template' | 'large', tables: Tables) =>
    `${prefix}_${kind}_${tables.replaceAll('-', '_')}`

  async function makeOnce(name: string, make: () => Promise<void>): Promise<string> {
    if (made.has(name)) return name
    await postgres.createDatabase(name)
    made.add(name)
    await make()
    return name
  }

  const template = (tables: Tables) => {
    const name = nameOf('template', tables)
    return makeOnce(name, () => createTables(postgres.urlOf(name), tables))
  }
  const large = (tables: Tables) => {
    const name = nameOf('large', tables)
    return makeOnce(name, async () => {
      onLog(`preparing ${largeRows.toLocaleString('en-US')} rows in the tables of ${tables}, once`)
      await createTables(postgres.urlOf(name), tables)
      await withClient(postgres.urlOf(name), (client) => fillLargeTable(client, tables, largeRows))
    })
  }

  return {
    create: async (name, tables) => postgres.createDatabase(name, await template(tables)),
    openLarge: async (tables) => {
      const name = await large(tables)
      await withClient(postgres.urlOf(name), async (client) => {
        for (const schema of QUEUE_SCHEMAS) await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
      })
      return name
    },
    dropAll: async () => {
      for (const name of made) await postgres.dropDatabase(name)
    },
  }
}

async function createTables(url: string, tables: Tables): Promise<void> {
  if (tables === 'app') return withClient(url, async (client) => void (await client.query(APP_TABLES)))
  const db = createDatabase(createPool({ url, applicationName: 'bench', max: 2 }))
  try {
    await migrateToLatest(db)
  } finally {
    await db.destroy()
  }
}
