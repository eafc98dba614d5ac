/** The table that is to be made free of duplicates: what it is, how its rows are told apart, and whether it can be done. */
import { createHash } from 'node:crypto'
import { MAX_NAME_BYTES, parseName, quoteName, spellingsOf } from './names.ts'
import type { Query } from './query.ts'
import { findRelation, type Relation } from './relation.ts'
import { TableError } from './table-error.ts'

export type Column = {
  name: string
  /** Quoted. */
  sql: string
  /** As in a cast, e.g. `character varying(64)`. */
  type: string
  /** Where the type and its operators are. */
  typeSchema: string
  isNotNull: boolean
  isGenerated: boolean
}

export type Target = Relation & {
  /** Whose values must be unique. */
  column: Column & {
    /** Of a varchar(n). */
    maxLength?: number
  }
  /** What tells one row from another: the primary key, or a unique index on columns that are never null. */
  key: Column[]
  /** The first row in this order is the one that stays. Ends with the key. */
  order: Column[]
  columns: Column[]
  /** Rows that count: PostgreSQL and people agree that null and '' are no id. Bare column name. */
  predicate: string
  indexName: string
  /** Where moved rows go; beside the table. */
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
 * The type of column `a`, with type `t` in namespace `n`, as it can be written in a cast under any search_path; the
 * limits of a type from elsewhere are left to the column.
 */
export const TYPE_SQL = `CASE n.nspname WHEN 'pg_catalog' THEN format_type(a.atttypid, a.atttypmod)
  ELSE format('%I.%I', n.nspname, t.typname) END`

/** The index that makes a message unique, also the name by which the service looks for it. */
export function indexNameFor(table: string, column: string): string {
  const name = `idx_${table}_${column}_unique`
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return name
  return `idx_${createHash('sha256').update(name).digest('hex').slice(0, 24)}_unique`
}

/** @throws TableError when there is no such table or column, or it is none that can be made unique. */
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
    quarantine: `${quoteName(relation.schema)}.chat_messages_duplicates`,
  }
}

/** A row's key as one text: the value itself, or a JSON array of the values. `alias` is that of the row in SQL. */
export function rowKeyText({ key }: Pick<Target, 'key'>, alias: string): string {
  const texts = key.map(({ sql }) => `${alias}.${sql}::text`)
  return key.length === 1 ? String(texts[0]) : `jsonb_build_array(${texts.join(', ')})::text`
}

/** `a.id = b.id::bigint AND …`: compares a row's key with one given as `rowKeyText`, in a form that uses the key's index. */
export function keyEquals({ key }: Pick<Target, 'key'>, alias: string, rowKeySql: string): string {
  if (key.length === 1) return `${alias}.${key[0]?.sql} = (${rowKeySql})::${key[0]?.type}`
  return key
    .map(({ sql, type }, index) => `${alias}.${sql} = ((${rowKeySql})::jsonb ->> ${index})::${type}`)
    .join(' AND ')
}

/** A row as one value. The bare alias would be a column, where the table has one of that name. */
export function wholeRow({ sql }: Pick<Target, 'sql'>, alias: string): string {
  return `(${alias}.*)::${sql}`
}

export function orderBy(columns: readonly Column[], alias: string): string {
  return columns.map(({ sql }) => `${alias}.${sql}`).join(', ')
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

/** A key that holds the column itself would change with it, so it tells nothing apart. */
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

/** Without a long lock where the table has ids already; else the only way there is. */
function addKey({ label, sql, name }: Relation, columns: readonly ColumnRow[]): string {
  if (!columns.some((column) => column.name === 'id'))
    return `ALTER TABLE ${sql} ADD COLUMN id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY (locks ${label} while every row is rewritten)`
  const index = quoteName(`${name}_pkey`)
  return `CREATE UNIQUE INDEX CONCURRENTLY ${index} ON ${sql} (id); ALTER TABLE ${sql} ADD CONSTRAINT ${index} PRIMARY KEY USING INDEX ${index}`
}
