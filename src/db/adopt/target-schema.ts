/**
 * The target schema: the tables as the migrations make them.
 *
 * Only the migrations define the tables. So they run in a schema of their own. There the tables are read and rolled back, or
 * moved to their place where a database lacks them.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import { migrations } from '../../../migrations/index.ts'
import { quoteName } from '../any-table/names.ts'
import { type Query, queryWithKysely } from '../any-table/query.ts'
import { TableError } from '../any-table/table-error.ts'
import { SQLSTATE, sqlStateOf } from '../errors.ts'
import type { Database } from '../schema.ts'
import { readShapes, type Shapes } from './shape.ts'

const SCHEMA = 'wa_ingest_target_schema'

/**
 * Every table of the newest version, by name. Changes nothing.
 * @throws TableError where the role may not create schemas.
 */
export async function readTargetSchema(db: Kysely<Database>): Promise<Shapes> {
  const undo = new Error('undo')
  let shapes: Shapes = new Map()
  try {
    await db.transaction().execute(async (trx) => {
      await runMigrations(trx)
      shapes = await readShapes(queryWithKysely(trx), SCHEMA)
      throw undo
    })
  } catch (err) {
    if (sqlStateOf(err) === SQLSTATE.INSUFFICIENT_PRIVILEGE)
      throw new TableError(
        'this role may not make schemas in this database; as its owner run: GRANT CREATE ON DATABASE <database> TO <role>',
        { cause: err },
      )
    if (err !== undo) throw err
  }
  return shapes
}

/**
 * Makes the tables that are missing in `schema`, with everything that belongs to them, and the functions. Their foreign
 * keys to tables that are there already have to be added afterwards, because those may not have their key yet.
 */
export async function createMissingTables(
  db: Kysely<Database>,
  schema: string,
  isMissing: (table: string) => boolean,
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await runMigrations(trx)
    const query = queryWithKysely(trx)
    const shapes = await readShapes(query, SCHEMA)
    for (const { name, constraints } of shapes.values()) {
      if (!isMissing(name)) continue
      for (const { kind, name: constraint, target } of constraints) {
        if (kind === 'f' && target !== null && !isMissing(target))
          await query(`ALTER TABLE ${SCHEMA}.${quoteName(name)} DROP CONSTRAINT ${quoteName(constraint)}`)
      }
      await query(`ALTER TABLE ${SCHEMA}.${quoteName(name)} SET SCHEMA ${quoteName(schema)}`)
    }
    await moveSequences(query, schema)
    await moveFunctions(query, schema)
    await query(`DROP SCHEMA ${SCHEMA} CASCADE`)
  })
}

async function runMigrations(trx: Transaction<Database>): Promise<void> {
  await sql.raw(`DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`).execute(trx)
  await sql.raw(`CREATE SCHEMA ${SCHEMA}`).execute(trx)
  await sql.raw(`SET LOCAL search_path = ${SCHEMA}`).execute(trx)
  for (const name of Object.keys(migrations).sort()) await migrations[name]?.up(trx)
}

/** Moves the sequences that belong to no column; the others move with their table. */
async function moveSequences(query: Query, schema: string): Promise<void> {
  const { rows } = await query<{ name: string }>(
    `SELECT quote_ident(c.relname) AS name FROM pg_class c
     WHERE c.relkind = 'S' AND c.relnamespace = to_regnamespace($1)
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i'))
       AND to_regclass(quote_ident($2) || '.' || quote_ident(c.relname)) IS NULL`,
    [SCHEMA, schema],
  )
  for (const { name } of rows) await query(`ALTER SEQUENCE ${SCHEMA}.${name} SET SCHEMA ${quoteName(schema)}`)
}

async function moveFunctions(query: Query, schema: string): Promise<void> {
  const { rows } = await query<{ name: string }>(
    `SELECT format('%I(%s)', proname, pg_get_function_identity_arguments(oid)) AS name
     FROM pg_proc WHERE pronamespace = to_regnamespace($1)`,
    [SCHEMA],
  )
  for (const { name } of rows) {
    await query(`DROP FUNCTION IF EXISTS ${quoteName(schema)}.${name}`)
    await query(`ALTER FUNCTION ${SCHEMA}.${name} SET SCHEMA ${quoteName(schema)}`)
  }
}
