/** The tables in src/db/schema.ts are those that the migrations create. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../support/postgres.ts'
import { PROJECT } from '../support/processes.ts'

type Column = { type: string; isNullable: boolean; isGenerated: boolean }
type Tables = Map<string, Map<string, Column>>

/** Tables of other programs in the same schema. */
const FOREIGN_TABLES = /^wa_ingest_migrations/

/** The TypeScript type of a column of this SQL type. */
const TYPES: Readonly<Record<string, string>> = {
  text: 'string',
  uuid: 'string',
  bigint: 'string',
  xid8: 'string',
  smallint: 'number',
  integer: 'number',
  'double precision': 'number',
  boolean: 'boolean',
  bytea: 'Buffer',
  jsonb: 'Json',
  'timestamp with time zone': 'Timestamp',
}

const described = describedTables()
let migrated: Tables

beforeAll(async () => {
  migrated = await migratedTables()
})

test('every table is described, and no other', () => {
  expect([...described.keys()].sort()).toEqual([...migrated.keys()].sort())
})

describe.each([...described])('%s', (table, columns) => {
  test('has these columns, and no other', () => {
    expect([...columns.keys()].sort()).toEqual([...(migrated.get(table)?.keys() ?? [])].sort())
  })

  test.each([...columns])(
    '%s is of this type, nullable and filled in by the database or not',
    (name, column) => {
      expect(column).toEqual(migrated.get(table)?.get(name))
    },
  )
})

async function migratedTables(): Promise<Tables> {
  const { pool } = await createTestDatabase()
  const { rows } = await pool.query(`
    SELECT table_name, column_name, data_type, is_nullable = 'YES' AS is_nullable,
      column_default IS NOT NULL OR is_identity = 'YES' AS is_generated
    FROM information_schema.columns WHERE table_schema = 'public'`)
  const tables: Tables = new Map()
  for (const { table_name, column_name, data_type, is_nullable, is_generated } of rows) {
    if (FOREIGN_TABLES.test(table_name)) continue
    const columns = tables.get(table_name) ?? new Map<string, Column>()
    tables.set(table_name, columns)
    const type = TYPES[data_type] ?? `unknown type ${data_type}`
    columns.set(column_name, { type, isNullable: is_nullable, isGenerated: is_generated })
  }
  return tables
}

/** Types do not exist at run time, so the files are read as text: one column to a line, as Biome formats them. */
function describedTables(): Tables {
  const source = ['src/db/schema.ts', 'src/db/contact-tables.ts']
    .map((file) => readFileSync(path.join(PROJECT, file), 'utf8'))
    .join('\n')
  const tables: Tables = new Map()
  for (const [, table = '', type = ''] of bodyOf(source, 'Database').matchAll(/^\s*(\w+): (\w+)/gm)) {
    const lines = bodyOf(source, type).matchAll(/^\s*(\w+): (.+)$/gm)
    tables.set(table, new Map([...lines].map(([, name = '', text = '']) => [name, readColumn(text.trim())])))
  }
  return tables
}

/** Without comments. */
function bodyOf(source: string, type: string): string {
  const body = new RegExp(`export type ${type} = \\{([^}]*)\\}`).exec(source)?.[1]
  if (body === undefined) throw new Error(`src/db has no type ${type}`)
  return body.replace(/\/\*\*[\s\S]*?\*\//g, '').replaceAll(';', '\n')
}

/** `Generated<string>`, `Timestamp | null`, `ColumnType<Date | number, …>`, `'inbound' | 'outbound'` … */
function readColumn(text: string): Column {
  const isNullable = /\| null$/.test(text)
  const type = text.replace(/ \| null$/, '')
  const isGenerated = /^(?:Id$|Generated)/.test(type) || /^ColumnType<[^,]+, [^,]*undefined/.test(type)
  if (/^(?:Generated)?Timestamp$|^ColumnType<Date/.test(type))
    return { type: 'Timestamp', isNullable, isGenerated }
  if (type === 'Id' || /^'/.test(type)) return { type: 'string', isNullable, isGenerated }
  return { type: type.replace(/^Generated<(.*)>$/, '$1'), isNullable, isGenerated }
}
