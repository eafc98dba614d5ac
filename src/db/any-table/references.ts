/** The foreign keys that refer to a table. They have to be re-pointed before a row may move. */

import { qualifiedName, quoteName } from './names.ts'
import type { Query } from './query.ts'
import { type Target, TYPE_SQL } from './target.ts'

export type Reference = {
  /** The oid of the constraint. */
  oid: string
  constraint: string
  /** The oid of the referring table. */
  tableOid: string
  /** The referring table, as PostgreSQL prints it. */
  table: string
  schema: string
  /** With schema, quoted. */
  sql: string
  isPartitioned: boolean
  /** The table refers to itself. */
  isSelf: boolean
  /** Quoted; the n-th refers to the n-th of `referenced`. */
  columns: string[]
  /** The types of `columns`, as in a cast. */
  types: string[]
  /** Columns of the target, quoted. */
  referenced: string[]
  /** Whether `referenced` are the columns of `Target.key`, in any order. */
  isToKey: boolean
  onDelete: string
  /** Whether an index covers `columns`. Without one, every moved row costs a scan of the referring table. */
  isIndexed: boolean
  isRowSecurityActive: boolean
}

type ReferenceRow = Omit<Reference, 'sql' | 'isToKey'> & { name: string }

const ON_DELETE = `CASE c.confdeltype WHEN 'a' THEN 'no action' WHEN 'r' THEN 'restrict' WHEN 'c' THEN 'cascade'
  WHEN 'n' THEN 'set null' WHEN 'd' THEN 'set default' END`

/**
 * Finds the foreign keys that refer to the target. A partitioned table that refers to it is listed once, without its
 * partitions. Where the target is a partition, the foreign keys to the whole partitioned table are listed as well.
 */
export async function findReferences(
  query: Query,
  target: Pick<Target, 'oid' | 'key'>,
): Promise<Reference[]> {
  const { rows } = await query<ReferenceRow>(
    `SELECT c.oid::text AS oid, c.conname AS constraint, c.conrelid::text AS "tableOid",
       c.conrelid::regclass::text AS "table", n.nspname AS schema, t.relname AS name,
       t.relkind = 'p' AS "isPartitioned", c.conrelid = c.confrelid AS "isSelf", ${ON_DELETE} AS "onDelete",
       row_security_active(c.conrelid) AS "isRowSecurityActive",
       array_agg(a.attname::text ORDER BY u.place) AS columns,
       array_agg(a.type ORDER BY u.place) AS types,
       array_agg(f.attname::text ORDER BY u.place) AS referenced,
       EXISTS (
         SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL
           AND (i.indkey::int2[])[0:array_length(c.conkey, 1) - 1] @> c.conkey
       ) AS "isIndexed"
     FROM pg_constraint c
     JOIN pg_class t ON t.oid = c.conrelid
     JOIN pg_namespace n ON n.oid = t.relnamespace
     CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS u(child, parent, place)
     JOIN LATERAL (
       SELECT a.attname, ${TYPE_SQL} AS type FROM pg_attribute a
       JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
       WHERE a.attrelid = c.conrelid AND a.attnum = u.child
     ) a ON true
     JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = u.parent
     WHERE c.contype = 'f' AND c.confrelid = $1::oid AND NOT EXISTS (
       SELECT FROM pg_constraint p WHERE p.oid = c.conparentid AND p.confrelid = c.confrelid)
     GROUP BY c.oid, c.conname, c.conrelid, c.confrelid, c.conkey, c.confdeltype, n.nspname, t.relname, t.relkind
     ORDER BY c.conrelid::regclass::text, c.conname`,
    [target.oid],
  )
  return rows.map((row) => describe(row, target))
}

function describe({ name, ...row }: ReferenceRow, { key }: Pick<Target, 'key'>): Reference {
  const keyNames = key.map((column) => column.name)
  return {
    ...row,
    sql: qualifiedName(row.schema, name),
    columns: row.columns.map(quoteName),
    referenced: row.referenced.map(quoteName),
    isToKey:
      row.referenced.length === keyNames.length &&
      row.referenced.every((column) => keyNames.includes(column)),
  }
}

/** The foreign key for people: table.column, or table.(a, b). */
export function labelOf({ table, columns }: Reference): string {
  const names = columns.map((column) => (/^"[a-z_][a-z0-9_]*"$/.test(column) ? column.slice(1, -1) : column))
  return names.length === 1 ? `${table}.${names[0]}` : `${table}.(${names.join(', ')})`
}

/** The referenced columns that are not in the key, quoted: (tenant) of a foreign key over (tenant, id). */
export function columnsBesideKey({ key }: Pick<Target, 'key'>, { referenced }: Reference): string[] {
  return referenced.filter((column) => !key.some(({ sql }) => sql === column))
}

/** `child.a = parent.x AND …` */
export function joinCondition({ columns, referenced }: Reference, child: string, parent: string): string {
  return columns.map((column, index) => `${child}.${column} = ${parent}.${referenced[index]}`).join(' AND ')
}
