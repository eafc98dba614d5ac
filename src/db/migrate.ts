/**
 * Migrates a database to the newest schema, and refuses to work with any other.
 *
 * Forward only. Two processes may migrate at once: one does it, the other waits and finds nothing to do. The other one tries
 * the lock again and again. If it waited in PostgreSQL, it would have a snapshot meanwhile, and CREATE INDEX CONCURRENTLY
 * waits for every snapshot: the two would wait for each other.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { migrations } from '../../migrations/index.ts'
import { type Database, QUARANTINE_COLUMNS, TABLES } from './schema.ts'

/** Not Kysely's own names, because the database may belong to an application that uses Kysely's migrator too. */
const MIGRATION_TABLE = 'wa_ingest_migrations'
const MIGRATION_LOCK_TABLE = 'wa_ingest_migrations_lock'

/** 'wa-m' in ASCII. */
const LOCK_ID = 0x77_61_2d_6d
const LOCK_RETRY_MS = 200

/**
 * Makes the tables that stand under our names in `schema` the tables of this version.
 * @param db one connection.
 */
export type Adopt<Adoption> = (
  db: Kysely<Database>,
  schema: string,
  signal: AbortSignal | undefined,
) => Promise<Adoption>

export type MigrateOptions<Adoption> = {
  signal?: AbortSignal
  /** Absent: tables of another system are refused, so that only an operator decides to change them. */
  adopt?: Adopt<Adoption>
  /** Only say what would be done. `adopt` has to do the same. */
  isDryRun?: boolean
  /** Called once if another process is migrating this database. */
  onWait?: () => void
}

export type MigrateResult<Adoption> = {
  /** Names of the migrations that this call ran; empty: the database was current. */
  applied: string[]
  /** The result of `adopt`, where there were tables to adopt. */
  adopted?: Adoption
  /** Names of the migrations that a dry run has found and not run. */
  pending?: string[]
}

/** This version cannot work with the database as it is. The message says what to do. */
export class SchemaError extends Error {
  override name = 'SchemaError'
}

/**
 * Runs every migration that the database lacks, all in one transaction. Safe to call from several processes at once.
 * Session locks do not work through a transaction pooler: give a direct connection.
 * @throws SchemaError when the database is newer than this code, or a migration fails; nothing is changed then.
 */
export async function migrateToLatest<Adoption = never>(
  db: Kysely<Database>,
  options: MigrateOptions<Adoption> = {},
): Promise<MigrateResult<Adoption>> {
  return db.connection().execute(async (connection) => {
    await takeLock(connection, options)
    try {
      return await runMigrations(connection, options)
    } finally {
      await sql`SELECT pg_advisory_unlock(${LOCK_ID})`.execute(connection)
    }
  })
}

/**
 * Passes when the database has exactly the migrations of this code.
 * @throws SchemaError that says which way it differs and what to do.
 */
export async function assertSchemaIsCurrent(db: Kysely<Database>): Promise<void> {
  const applied = await findAppliedMigrations(db)
  assertNoUnknownMigration(applied)
  const fault = describeMissing(applied)
  if (fault !== undefined) throw new SchemaError(fault)
}

/**
 * What the database lacks for this code, in words; undefined: nothing. A newer database is no fault here, because a process
 * goes on while a later version migrates the database.
 */
export async function findSchemaFault(db: Kysely<Database>): Promise<string | undefined> {
  return describeMissing(await findAppliedMigrations(db))
}

function describeMissing(applied: readonly string[]): string | undefined {
  const missing = Object.keys(migrations).filter((name) => !applied.includes(name))
  if (missing.length === 0) return undefined
  const what =
    applied.length === 0
      ? 'the database has no wa-ingest tables'
      : `the database lacks the migration ${missing.join(', ')}`
  return `${what}; run: npx wa-ingest migrate`
}

/** The names of the migrations in the order in which they ran; empty for a database that was never migrated. */
export async function findAppliedMigrations(db: Kysely<Database>): Promise<string[]> {
  const table = await sql<{ exists: boolean }>`
    SELECT to_regclass(quote_ident(current_schema()) || '.' || ${MIGRATION_TABLE}) IS NOT NULL AS exists`.execute(
    db,
  )
  if (!table.rows[0]?.exists) return []
  const { rows } = await sql<{ name: string }>`
    SELECT name FROM ${sql.table(MIGRATION_TABLE)} ORDER BY timestamp, name`.execute(db)
  return rows.map(({ name }) => name)
}

function assertNoUnknownMigration(applied: readonly string[]): void {
  const unknown = applied.filter((name) => !Object.hasOwn(migrations, name))
  if (unknown.length === 0) return
  throw new SchemaError(
    `the database is newer than this version of wa-ingest: it has the migration ${unknown.join(', ')}; run the version that made it, or a later one`,
  )
}

async function takeLock(
  db: Kysely<Database>,
  { signal, onWait }: Pick<MigrateOptions<unknown>, 'signal' | 'onWait'>,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    const { rows } = await sql<{ taken: boolean }>`SELECT pg_try_advisory_lock(${LOCK_ID}) AS taken`.execute(
      db,
    )
    if (rows[0]?.taken) return
    if (attempt === 1) onWait?.()
    await delay(LOCK_RETRY_MS, undefined, signal ? { signal } : {})
  }
}

async function runMigrations<Adoption>(
  db: Kysely<Database>,
  { adopt, isDryRun, signal }: MigrateOptions<Adoption>,
): Promise<MigrateResult<Adoption>> {
  const applied = await findAppliedMigrations(db)
  assertNoUnknownMigration(applied)
  const schema = await currentSchema(db)
  const standing = applied.length > 0 ? [] : await findStandingTables(db, schema)
  if (standing.length > 0 && adopt !== undefined) {
    const adopted = await adopt(db, schema, signal)
    if (isDryRun) return { applied: [], adopted }
    // The tables are what all migrations make; what is left to do is to record that.
    const nothing = Object.keys(migrations).map((name) => [name, { up: async () => {} }])
    return { applied: await migrate(db, schema, Object.fromEntries(nothing)), adopted }
  }
  const foreign = standing.filter((table) => !isQuarantine(table))
  if (foreign.length > 0) {
    throw new SchemaError(
      `the database has tables of another system (${foreign.map(({ name }) => name).join(', ')}); to take them over run: npx wa-ingest migrate`,
    )
  }
  if (isDryRun)
    return { applied: [], pending: Object.keys(migrations).filter((name) => !applied.includes(name)) }
  return { applied: await migrate(db, schema, migrations) }
}

type StandingTable = { name: string; kind: string; columns: string[] }

/** Tables and views that stand under names of ours. */
async function findStandingTables(db: Kysely<Database>, schema: string): Promise<StandingTable[]> {
  const { rows } = await sql<StandingTable>`
    SELECT c.relname AS name, c.relkind AS kind, ARRAY(
      SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns
    FROM pg_class c
    WHERE c.relnamespace = to_regnamespace(quote_ident(${schema})) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND c.relname = ANY(${TABLES}::text[]) ORDER BY c.relname`.execute(db)
  return rows
}

/** dedupe has made it, for the table of another system; the migrations leave it as it is. */
function isQuarantine({ name, kind, columns }: StandingTable): boolean {
  return (
    name === 'chat_messages_duplicates' &&
    kind === 'r' &&
    columns.toSorted().join() === QUARANTINE_COLUMNS.toSorted().join()
  )
}

async function migrate(
  db: Kysely<Database>,
  schema: string,
  wanted: Record<string, Migration>,
): Promise<string[]> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => wanted },
    migrationTableName: MIGRATION_TABLE,
    migrationLockTableName: MIGRATION_LOCK_TABLE,
    migrationTableSchema: schema,
  })
  const { error, results = [] } = await migrator.migrateToLatest()
  if (error === undefined) return results.map(({ migrationName }) => migrationName)
  const failed = results.find(({ status }) => status === 'Error')?.migrationName
  const reason = error instanceof Error ? error.message : String(error)
  throw new SchemaError(failed === undefined ? reason : `migration ${failed} failed: ${reason}`, {
    cause: error,
  })
}

/** Given to Kysely by name, so that it does not find a migration table of another schema. */
async function currentSchema(db: Kysely<Database>): Promise<string> {
  const { rows } = await sql<{ schema: string | null }>`SELECT current_schema() AS schema`.execute(db)
  const schema = rows[0]?.schema
  if (schema) return schema
  throw new SchemaError('no schema of search_path exists; run: CREATE SCHEMA public')
}
