/** Databases of old chat systems, and their adoption. */
import { type Adoption, type AdoptOptions, adoptOldTables } from '../../../src/db/adopt/adopt.ts'
import { createDatabase, createPool } from '../../../src/db/connect.ts'
import { type MigrateResult, migrateToLatest } from '../../../src/db/migrate.ts'
import { PROVIDERS } from '../../../src/providers/index.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { BUSINESS_NUMBER } from '../../support/facts.ts'
import { createEmptyDatabase, type TestDatabase } from '../../support/postgres.ts'

/** The table that this project began with. */
export const SEED = `CREATE TABLE chat_messages (
  id serial PRIMARY KEY,
  conversation_id integer,
  wa_message_id varchar(255),
  content text NOT NULL,
  message_type varchar(50) DEFAULT 'text',
  created_at timestamp DEFAULT now()
)`

export async function createOldChat(...statements: string[]): Promise<TestDatabase> {
  const database = await createEmptyDatabase()
  for (const statement of statements) await database.pool.query(statement)
  return database
}

type Numbers = Readonly<Record<string, string>>
type TestAdoptOptions = Omit<AdoptOptions, 'providers'> & { numbers?: Numbers }

/** `numbers`: ours, by provider. */
export function adoptedProviders(numbers: Numbers): AdoptOptions['providers'] {
  return PROVIDERS.map(({ name, messageIds, defaultNumberVariable }) => ({
    name,
    idPattern: messageIds.own,
    number: numbers[name] ?? '',
    numberVariable: defaultNumberVariable,
  }))
}

export function adopt(
  database: TestDatabase,
  { numbers = { meta: BUSINESS_NUMBER }, ...options }: TestAdoptOptions = {},
  signal?: AbortSignal,
): Promise<MigrateResult<Adoption>> {
  return migrateToLatest(connectAnew(database), {
    isDryRun: options.isDryRun === true,
    adopt: (db, schema, stop) =>
      adoptOldTables(db, schema, { providers: adoptedProviders(numbers), ...options }, stop),
    ...(signal ? { signal } : {}),
  })
}

/** One connection, as the command has it. */
export function connectAnew({ url }: TestDatabase) {
  const db = createDatabase(createPool({ url, applicationName: 'adopt', max: 1 }))
  cleanUp(() => db.destroy())
  return db
}

export type Shape = { columns: unknown[]; constraints: unknown[]; indexes: unknown[]; sequences: unknown[] }

/** Everything in the schema public, by name; the order of columns does not count. */
export async function readShape({ pool }: TestDatabase): Promise<Shape> {
  const columns = await pool.query(
    `SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
     WHERE table_schema = 'public' ORDER BY table_name, column_name`,
  )
  const constraints = await pool.query(
    `SELECT conrelid::regclass::text AS table_name, contype, pg_get_constraintdef(oid) AS definition
     FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2, 3`,
  )
  const indexes = await pool.query(
    `SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2`,
  )
  const sequences = await pool.query(
    `SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1`,
  )
  return {
    columns: columns.rows,
    constraints: constraints.rows,
    indexes: indexes.rows,
    sequences: sequences.rows,
  }
}
