/**
 * A database that a test has used, as the template is: emptied in a tenth of the time that a new clone takes. One whose
 * schema, settings or rights a test has changed is not recycled.
 */
import pg from 'pg'

/** Deleting more than this costs more than a clone. */
const MAX_TABLE_BYTES = 1024 * 1024

const CATALOGS = [
  'attrdef',
  'attribute',
  'cast',
  'class',
  'collation',
  'constraint',
  'default_acl',
  'enum',
  'event_trigger',
  'extension',
  'index',
  'inherits',
  'namespace',
  'operator',
  'policy',
  'proc',
  'publication',
  'rewrite',
  'sequence',
  'statistic_ext',
  'trigger',
  'type',
]

const USER_TABLES = `
  SELECT c.oid, c.oid::regclass::text AS name FROM pg_class c
  WHERE c.relkind = 'r' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)`

/** What a clone of the template has from the start. */
export type TemplateState = {
  /** Changes with every change of the schema. */
  schema: string
  /** The tables that have rows. */
  seeded: string[]
  /** Changes with every change of those rows. */
  rows: string
}

export async function readTemplateState(client: pg.Client): Promise<TemplateState> {
  const { rows: tables } = await client.query<{ name: string }>(`${USER_TABLES} ORDER BY name`)
  const seeded: string[] = []
  for (const { name } of tables) {
    const { rows } = await client.query(`SELECT FROM ${name} LIMIT 1`)
    if (rows.length > 0) seeded.push(name)
  }
  return { schema: await readSchemaState(client), seeded, rows: await readVersions(client, seeded) }
}

/**
 * Ends every other connection to the database and empties it. False, with the database as it was, where it is no longer
 * like the template.
 */
export async function emptyDatabase(url: string, template: TemplateState): Promise<boolean> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    await client.query(`
      SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()`)
    if ((await readSchemaState(client)) !== template.schema) return false
    if ((await readVersions(client, template.seeded)) !== template.rows) return false
    return await deleteRows(client, template.seeded)
  } finally {
    await client.end()
  }
}

async function readSchemaState(client: pg.Client): Promise<string> {
  const { rows } = await client.query(`
    SELECT count(*) AS unusual FROM pg_database d WHERE datname = current_database()
    AND (datacl IS NOT NULL OR datconnlimit <> -1
         OR EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid))`)
  const tables = CATALOGS.map((name) => `pg_${name}`)
  return `${rows[0].unusual} ${await readVersions(client, tables)}`
}

/** Differs after every INSERT, UPDATE and DELETE that was committed. */
async function readVersions(client: pg.Client, tables: readonly string[]): Promise<string> {
  const counts = tables.map((name) => `SELECT count(*) AS n, max(xmin::text::bigint) AS newest FROM ${name}`)
  if (counts.length === 0) return ''
  const { rows } = await client.query(
    `SELECT string_agg(n || ':' || newest, ' ') AS versions FROM (${counts.join(' UNION ALL ')}) AS t`,
  )
  return rows[0].versions
}

async function deleteRows(client: pg.Client, seeded: readonly string[]): Promise<boolean> {
  const { rows } = await client.query<{ name: string; size: string }>(
    `SELECT name, pg_relation_size(oid) AS size FROM (${USER_TABLES}) AS t WHERE name <> ALL ($1)`,
    [seeded],
  )
  const filled = rows.filter(({ size }) => Number(size) > 0)
  if (filled.some(({ size }) => Number(size) > MAX_TABLE_BYTES)) return false
  await client.query(`
    BEGIN;
    SET LOCAL session_replication_role = replica;
    ${filled.map(({ name }) => `DELETE FROM ${name};`).join('\n')}
    SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL;
    COMMIT`)
  return true
}
