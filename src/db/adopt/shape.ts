/** Tables as the catalogue describes them, for comparing old tables with the target schema. */
import type { Query } from '../any-table/query.ts'

export type ColumnShape = {
  name: string
  /** As format_type prints it. */
  type: string
  isNotNull: boolean
  default: string | null
  /** '' none, 'a' always, 'd' by default. */
  identity: string
  isGenerated: boolean
}

export type ConstraintShape = {
  name: string
  /** p primary key, u unique, f foreign key, c check, x exclusion. */
  kind: string
  definition: string
  columns: string[]
  /** Of a foreign key: the table that it refers to. */
  target: string | null
}

export type IndexShape = {
  name: string
  /** As PostgreSQL prints it, without the schema. */
  definition: string
  isUnique: boolean
  isValid: boolean
  /** Key columns; a part that is an expression is ''. */
  columns: string[]
  /** The constraint that it belongs to. */
  constraint: string | null
}

export type TableShape = {
  name: string
  oid: string
  /** r table, p partitioned, v view, m materialized view, f foreign table. */
  kind: string
  isUnlogged: boolean
  hasChildren: boolean
  /** Made with CREATE RULE; ON CONFLICT does not work on a table with rules. */
  hasRules: boolean
  isOwner: boolean
  owner: string
  bytes: number
  columns: ColumnShape[]
  constraints: ConstraintShape[]
  indexes: IndexShape[]
}

/** By the name of the table. */
export type Shapes = ReadonlyMap<string, TableShape>

type TableRow = Omit<TableShape, 'columns' | 'constraints' | 'indexes'>

/** All tables, views, materialized views and foreign tables of a schema. */
export async function readShapes(query: Query, schema: string): Promise<Shapes> {
  const { rows: tables } = await query<TableRow>(
    `SELECT c.relname AS name, c.oid::text AS oid, c.relkind AS kind, c.relpersistence = 'u' AS "isUnlogged",
       c.relhasrules AND c.relkind = 'r' AS "hasRules", pg_has_role(c.relowner, 'USAGE') AS "isOwner",
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AS "hasChildren",
       pg_get_userbyid(c.relowner) AS owner, pg_total_relation_size(c.oid)::float8 AS bytes
     FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`,
    [schema],
  )
  const oids = tables.map(({ oid }) => oid)
  const columns = await readColumns(query, oids)
  const constraints = await readConstraints(query, oids)
  const indexes = await readIndexes(query, oids, schema)
  const of = <Part>(parts: readonly { table: string; part: Part }[], oid: string) =>
    parts.filter(({ table }) => table === oid).map(({ part }) => part)
  return new Map(
    tables.map((table) => [
      table.name,
      {
        ...table,
        columns: of(columns, table.oid),
        constraints: of(constraints, table.oid),
        indexes: of(indexes, table.oid),
      },
    ]),
  )
}

export function columnOf(table: TableShape | undefined, name: string): ColumnShape | undefined {
  return table?.columns.find((column) => column.name === name)
}

type Part<Shape> = { table: string; part: Shape }

async function readColumns(query: Query, oids: readonly string[]): Promise<Part<ColumnShape>[]> {
  const { rows } = await query<ColumnShape & { table: string }>(
    `SELECT a.attrelid::text AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS "isNotNull", pg_get_expr(d.adbin, d.adrelid) AS default, a.attidentity AS identity,
       a.attgenerated <> '' AS "isGenerated"
     FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum`,
    [oids],
  )
  return rows.map(({ table, ...part }) => ({ table, part }))
}

/** Without NOT NULL, which PostgreSQL 18 lists as a constraint too: the column has it. */
async function readConstraints(query: Query, oids: readonly string[]): Promise<Part<ConstraintShape>[]> {
  const { rows } = await query<ConstraintShape & { table: string }>(
    `SELECT c.conrelid::text AS "table", c.conname AS name, c.contype AS kind, pg_get_constraintdef(c.oid) AS definition,
       (SELECT relname FROM pg_class WHERE oid = c.confrelid) AS target,
       coalesce((SELECT array_agg(a.attname::text ORDER BY u.place) FROM unnest(c.conkey) WITH ORDINALITY AS u(attnum, place)
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.attnum), '{}') AS columns
     FROM pg_constraint c
     WHERE c.conrelid = ANY($1::oid[]) AND c.contype IN ('p', 'u', 'f', 'c', 'x') ORDER BY c.conname`,
    [oids],
  )
  return rows.map(({ table, ...part }) => ({ table, part }))
}

async function readIndexes(
  query: Query,
  oids: readonly string[],
  schema: string,
): Promise<Part<IndexShape>[]> {
  const { rows } = await query<IndexShape & { table: string }>(
    `SELECT i.indrelid::text AS "table", c.relname AS name,
       replace(pg_get_indexdef(i.indexrelid), ' ON ' || quote_ident($2) || '.', ' ON ') AS definition,
       i.indisunique AS "isUnique", i.indisvalid AS "isValid",
       (SELECT array_agg(coalesce(a.attname::text, '') ORDER BY u.place)
         FROM unnest(i.indkey) WITH ORDINALITY AS u(attnum, place)
         LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum AND u.attnum > 0
         WHERE u.place <= i.indnkeyatts) AS columns,
       (SELECT conname FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('p', 'u', 'x')) AS constraint
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = ANY($1::oid[]) ORDER BY c.relname`,
    [oids, schema],
  )
  return rows.map(({ table, ...part }) => ({ table, part }))
}
