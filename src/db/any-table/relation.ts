/** Finds a table by the name that the operator typed, and refuses views and tables whose rows are elsewhere. */

import { parseName, qualifiedName, spellingsOf } from './names.ts'
import type { Query } from './query.ts'
import { TableError } from './table-error.ts'

export type Relation = {
  /** As text: an oid may exceed 2^31. */
  oid: string
  schema: string
  name: string
  /** With its schema, quoted. */
  sql: string
  /** As PostgreSQL prints it: without the schema where search_path finds it. */
  label: string
}

type RelationRow = {
  oid: string
  schema: string
  name: string
  label: string
  kind: string
  has_children: boolean
  partition_key: string | null
}

/** @throws TableError where there is no such table, or it is a view, a foreign table, partitioned, or has child tables. */
export async function findRelation(query: Query, text: string): Promise<Relation> {
  const row = await lookUp(query, text)
  refuseKind(row)
  const { oid, schema, name, label } = row
  return { oid, schema, name, label, sql: qualifiedName(schema, name) }
}

async function lookUp(query: Query, text: string): Promise<RelationRow> {
  const parts = parseName(text)
  const [table, schema, ...rest] = parts.toReversed()
  if (!table || rest.length > 0)
    throw new TableError(`${text} is no name of a table: write table or schema.table`)
  const names = spellingsOf(table)
  const schemas = schema ? spellingsOf(schema) : null
  const { rows } = await query<RelationRow & { is_visible: boolean }>(
    `SELECT c.oid::text AS oid, n.nspname AS schema, c.relname AS name, c.oid::regclass::text AS label,
       c.relkind AS kind, c.relhassubclass AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AS has_children,
       CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
       pg_table_is_visible(c.oid) AS is_visible
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = ANY($1::text[]) AND ($2::text[] IS NULL OR n.nspname = ANY($2::text[]))
       AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%'
     ORDER BY array_position($1::text[], c.relname::text), array_position($2::text[], n.nspname::text)`,
    [names, schemas],
  )
  const found = rows.find(({ is_visible }) => schemas !== null || is_visible)
  if (found) return found
  const elsewhere = rows.map((row) => `--table ${row.label}`).join(' or ')
  throw new TableError(
    elsewhere === ''
      ? `there is no table ${text} in this database; name it with --table, or check DATABASE_URL`
      : `there is no table ${text} in the schemas of search_path; did you mean ${elsewhere}?`,
  )
}

function refuseKind({ kind, label, has_children, partition_key }: RelationRow): void {
  if (kind === 'v' || kind === 'm' || kind === 'f') {
    const what = { v: 'a view', m: 'a materialized view', f: 'a foreign table' }[kind]
    throw new TableError(`${label} is ${what}; name the table behind it with --table`)
  }
  if (kind === 'p') {
    throw new TableError(
      `${label} is partitioned by ${partition_key}, and an index over partitions can only be unique together with that key, so PostgreSQL cannot keep an id unique in it; copy it into a plain table: CREATE TABLE messages_plain (LIKE ${label} INCLUDING ALL); INSERT INTO messages_plain SELECT * FROM ${label}; then run dedupe with --table messages_plain`,
    )
  }
  if (has_children) {
    throw new TableError(
      `${label} has child tables that inherit from it, and no index is unique over all of them; run: ALTER TABLE <child> NO INHERIT ${label}`,
    )
  }
}
