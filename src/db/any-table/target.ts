/** Describes a table with a column of ids: its columns, its key, and whether the ids can be made unique. */
import { createHash } from 'node:crypto'
import { MAX_NAME_BYTES, parseName, qualifiedName, quoteName, spellingsOf } from './names.ts'
import type { Query } from './query.ts'
import { findRelation, type Relation } from './relation.ts'
import { TableError } from './table-error.ts'

export type Column = {
  name: string
  /** Quoted. */
  sql: string
  /** As in a cast, e.g. `character varying(64)`. */
  type: string
  /** The schema of the type and its operators. */
  typeSchema: string
  isNotNull: boolean
  isGenerated: boolean
}

export type Target = Relation & {
  /** The column whose values must be unique. */
  column: Column & {
    /** The n of a varchar(n). */
    maxLength?: number
  }
  /** The columns that identify a row: the primary key, or a unique index on columns that are never null. */
  key: Column[]
  /** The first row of an id in this order is kept. Ends with the key. */
  order: Column[]
  columns: Column[]
  /** Condition on the bare column: rows with an id. NULL and '' are no id. */
  predicate: string
  indexName: string
  /** The table for moved rows, in the schema of the table; quoted. */
  quarantine: string
}

export type TargetOptions = { table: string; column: string; orderBy?: string }

type ColumnRow = {
  name: string
  type: string
  type_schema: string
  base_type: string
  is_not_null: boolean
  is_generated: boolean
  is_deterministic: boolean
  max_length: number | null
}

/**
 * SQL: the type of column `a`, with type `t` in namespace `n`, as a cast needs it under any search_path. A type outside
 * pg_catalog is written without its limits.
 */
export const TYPE_SQL = `CASE n.nspname WHEN 'pg_catalog' THEN format_type(a.atttypid, a.atttypmod)
  ELSE format('%I.%I', n.nspname, t.typname) END`

/** The name of the unique index on a column. The service looks for its own index by this name. */
export function indexNameFor(table: string, column: string): string {
  const name = `idx_${table}_${column}_unique`
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return name
  return `idx_${createHash('sha256').update(name).digest('hex').slice(0, 24)}_unique`
}

/** @throws TableError when there is no such table or column, the values cannot be made unique, or the rows have no key. */
export async function describeTarget(query: Query, options: TargetOptions): Promise<Target> {
  const relation = await findRelation(query, options.table)
  const columns = await readColumns(query, relation)
  const column = pickColumn(relation, columns, options.column)
  refuseColumn(relation, column)
  const key = await findKey(query, relation, columns, column)
  const first = options.orderBy === undefined ? [] : [pickColumn(relation, columns, options.orderBy)]
  const sql = quoteName(column.name)
  return {
    ...relation,
    column: {
      ...describeColumn(column),
      ...(column.max_length === null ? {} : { maxLength: column.max_length }),
    },
    key,
    order: [...first.map(describeColumn), ...key],
    columns: columns.map(describeColumn),
    predicate: `${sql} IS NOT NULL AND ${sql} <> ''`,
    indexName: indexNameFor(relation.name, column.name),
    quarantine: qualifiedName(relation.schema, 'chat_messages_duplicates'),
  }
}

/** SQL: the key of the row `alias` as one text; the value itself, or a JSON array of several values. */
export function rowKeyText({ key }: Pick<Target, 'key'>, alias: string): string {
  const texts = key.map(({ sql }) => `${alias}.${sql}::text`)
  return key.length === 1 ? String(texts[0]) : `jsonb_build_array(${texts.join(', ')})::text`
}

/** SQL: compares the key of the row `alias` with a text made by `rowKeyText`, in a form that uses the key's index. */
export function keyEquals({ key }: Pick<Target, 'key'>, alias: string, rowKeySql: string): string {
  if (key.length === 1) return `${alias}.${key[0]?.sql} = (${rowKeySql})::${key[0]?.type}`
  return key
    .map(({ sql, type }, index) => `${alias}.${sql} = ((${rowKeySql})::jsonb ->> ${index})::${type}`)
    .join(' AND ')
}

/** SQL: the row `alias` as one value. The bare alias would mean a column, where the table has one of that name. */
export function wholeRow({ sql }: Pick<Target, 'sql'>, alias: string): string {
  return `(${alias}.*)::${sql}`
}

/** SQL for ORDER BY. */
export function orderBy(columns: readonly Column[], alias: string): string {
  return columns.map(({ sql }) => `${alias}.${sql}`).join(', ')
}

/** The columns whose values are the data of a row: neither the key nor the id. */
export function dataColumns({ columns, key, column }: Target): Column[] {
  return columns.filter(({ name }) => name !== column.name && !key.some((one) => one.name === name))
}

async function readColumns(query: Query, { oid }: Relation): Promise<ColumnRow[]> {
  const { rows } = await query<ColumnRow>(
    `SELECT a.attname AS name, ${TYPE_SQL} AS type, n.nspname AS type_schema, b.typname AS base_type,
       a.attnotnull AS is_not_null, a.attgenerated <> '' AS is_generated,
       coalesce(c.collisdeterministic, true) AS is_deterministic,
       CASE WHEN b.typname = 'varchar' AND a.atttypmod > 4 THEN a.atttypmod - 4 END AS max_length
     FROM pg_attribute a
     JOIN pg_type t ON t.oid = a.atttypid
     JOIN pg_namespace n ON n.oid = t.typnamespace
     JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
     LEFT JOIN pg_collation c ON c.oid = a.attcollation
     WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
    [oid],
  )
  return rows
}

function describeColumn(row: ColumnRow): Column {
  return {
    name: row.name,
    sql: quoteName(row.name),
    type: row.type,
    typeSchema: row.type_schema,
    isNotNull: row.is_not_null,
    isGenerated: row.is_generated,
  }
}

function pickColumn(relation: Relation, columns: readonly ColumnRow[], text: string): ColumnRow {
  const [part, ...rest] = parseName(text)
  const spellings = part === undefined || rest.length > 0 ? [] : spellingsOf(part)
  for (const spelling of spellings) {
    const found = columns.find(({ name }) => name === spelling)
    if (found) return found
  }
  const names = columns.map(({ name }) => name).join(', ')
  throw new TableError(`${relation.label} has no column ${text}; it has: ${names}`)
}

function refuseColumn({ label }: Relation, { name, type, base_type, ...column }: ColumnRow): void {
  const what = `${label}.${quoteName(name)}`
  if (base_type === 'citext' || !column.is_deterministic) {
    throw new TableError(
      `${what} compares text without regard to case (${type}), and message ids differ by case: two messages would be taken for one; run: ALTER TABLE ${label} ALTER COLUMN ${quoteName(name)} TYPE text COLLATE "default"`,
    )
  }
  if (base_type === 'bpchar') {
    throw new TableError(
      `${what} is ${type}, which pads ids with spaces; run: ALTER TABLE ${label} ALTER COLUMN ${quoteName(name)} TYPE text`,
    )
  }
  if (base_type !== 'text' && base_type !== 'varchar') {
    throw new TableError(`${what} is ${type}; message ids are text or varchar: name another --column`)
  }
  if (column.is_generated) {
    throw new TableError(`${what} is computed from other columns; name the column it comes from (--column)`)
  }
}

/** A key that contains the column itself would change with it, so it does not count. */
async function findKey(
  query: Query,
  relation: Relation,
  columns: readonly ColumnRow[],
  column: ColumnRow,
): Promise<Column[]> {
  const { rows } = await query<{ names: string[] }>(
    `SELECT k.names FROM pg_index i
     CROSS JOIN LATERAL (
       SELECT array_agg(a.attname::text ORDER BY u.place) AS names, bool_and(a.attnotnull) AS is_not_null
       FROM unnest(i.indkey) WITH ORDINALITY AS u(attnum, place)
       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
       WHERE u.place <= i.indnkeyatts
     ) k
     WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate
       AND i.indpred IS NULL AND i.indexprs IS NULL AND k.is_not_null AND NOT $2 = ANY(k.names)
     ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1`,
    [relation.oid, column.name],
  )
  const names = rows[0]?.names
  if (names)
    return columns
      .filter(({ name }) => names.includes(name))
      .map(describeColumn)
      .sort(byPlace(names))
  throw new TableError(
    `${relation.label} has no primary key, so its rows cannot be told apart; run: ${addKey(relation, columns)}`,
  )
}

function byPlace(names: readonly string[]) {
  return (a: Column, b: Column) => names.indexOf(a.name) - names.indexOf(b.name)
}

/** The SQL that adds a key: without a long lock where the table has a column id, else by rewriting the table. */
function addKey({ label, sql, name }: Relation, columns: readonly ColumnRow[]): string {
  if (!columns.some((column) => column.name === 'id'))
    return `ALTER TABLE ${sql} ADD COLUMN id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY (locks ${label} while every row is rewritten)`
  const index = quoteName(`${name}_pkey`)
  return `CREATE UNIQUE INDEX CONCURRENTLY ${index} ON ${sql} (id); ALTER TABLE ${sql} ADD CONSTRAINT ${index} PRIMARY KEY USING INDEX ${index}`
}
