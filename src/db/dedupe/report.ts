/** The report: what a run would find and do. Only reads. */
import { MAX_WA_MESSAGE_ID_BYTES } from '../../core/event.ts'
import { lacks } from '../any-table/fill-gaps.ts'
import { quoteName } from '../any-table/names.ts'
import { assertQuarantineIsOurs, countQuarantined } from '../any-table/quarantine.ts'
import type { Query } from '../any-table/query.ts'
import { findReferences, joinCondition, labelOf, type Reference } from '../any-table/references.ts'
import { dataColumns, orderBy, rowKeyText, type Target, wholeRow } from '../any-table/target.ts'
import { type IndexState, inspectIndex } from '../any-table/unique-index.ts'
import { findLeftovers, type Leftovers } from './leftovers.ts'
import { findMissingPrivileges } from './privileges.ts'

export type DuplicateExample = {
  id: string
  copies: number
  kept: string
  /** The keys of the first few rows to move. */
  moved: string[]
}

export type DedupeReport = {
  table: string
  column: string
  key: string[]
  index: IndexState
  /** How many ids are in the table more than once, and how many rows have them. */
  groups: number
  rows: number
  rows_to_move: number
  examples: DuplicateExample[]
  /** The id with most copies. It may be a word such as `unknown` and no id. */
  largest?: DuplicateExample
  references: {
    name: string
    constraint: string
    on_delete: string
    rows: number
    /** How many referring rows a unique index would refuse after re-pointing, as far as it is known beforehand. */
    conflicts: number
    is_indexed: boolean
  }[]
  /** By column, the number of ids: where a later copy has a value that the first one lacks; where copies differ otherwise. */
  gaps: Record<string, number>
  differences: Record<string, number>
  /** How many ids are longer than the id of any message. */
  long_ids: number
  size: { estimated_rows: number; bytes: number }
  estimated_seconds: number
  quarantined: number
  /** Triggers of the table that fire when a row moves. */
  delete_triggers: string[]
  leftovers: Leftovers
  /** Why --apply would refuse the table. */
  obstacles: string[]
}

const EXAMPLES = 5
const EXAMPLE_ROWS = 5
/** Measured on two shared cores (docs/adopting.md); only a rough value for other machines. */
const INDEXED_ROWS_PER_SECOND = 250_000
const MOVED_ROWS_PER_SECOND = 2_500

type Found = {
  groups: number
  rows: number
  examples: DuplicateExample[] | null
  largest: DuplicateExample | null
  references: number[]
  conflicts: number[]
  gaps: number[]
  differences: number[]
}

export async function reportDuplicates(query: Query, target: Target): Promise<DedupeReport> {
  await assertQuarantineIsOurs(query, target)
  const references = await findReferences(query, target)
  const conflicts: string[] = []
  for (const reference of references) conflicts.push(await conflictCounts(query, reference))
  const found = await findDuplicates(query, target, references, conflicts)
  const others = dataColumns(target)
  const size = await readSize(query, target)
  const rowsToMove = found.rows - found.groups
  return {
    table: target.label,
    column: target.column.name,
    key: target.key.map(({ name }) => name),
    index: await inspectIndex(query, target),
    groups: found.groups,
    rows: found.rows,
    rows_to_move: rowsToMove,
    examples: found.examples ?? [],
    ...(found.largest ? { largest: found.largest } : {}),
    references: references.map((reference, index) => ({
      name: labelOf(reference),
      constraint: reference.constraint,
      on_delete: reference.onDelete,
      rows: found.references[index] ?? 0,
      conflicts: found.conflicts[index] ?? 0,
      is_indexed: reference.isIndexed,
    })),
    gaps: countsByColumn(others, found.gaps),
    differences: countsByColumn(others, found.differences),
    long_ids: await countLongIds(query, target),
    size,
    estimated_seconds: Math.ceil(
      2 + (2 * size.estimated_rows) / INDEXED_ROWS_PER_SECOND + rowsToMove / MOVED_ROWS_PER_SECOND,
    ),
    quarantined: await countQuarantined(query, target),
    delete_triggers: await findDeleteTriggers(query, target),
    leftovers: await findLeftovers(query, target),
    obstacles: await findMissingPrivileges(query, target, references),
  }
}

/**
 * One statement, so that all counts are of the same state of the table and the copies are found once. `copies` has every
 * row whose id is there more than once: the whole row (`r`), and its place among the copies (`n`; 1 is kept).
 */
async function findDuplicates(
  query: Query,
  target: Target,
  references: readonly Reference[],
  conflicts: readonly string[],
): Promise<Found> {
  const { sql, column, predicate } = target
  const compared = dataColumns(target)
  const pair = (index: number) => {
    const name = compared[index]?.sql
    return { first: `(f.r).${name}`, later: `(l.r).${name}` }
  }
  const gaps = compared.map((one, index) => {
    const { first, later } = pair(index)
    return `count(DISTINCT l.id) FILTER (WHERE ${lacks(one, first)} AND NOT (${lacks(one, later)}))`
  })
  const differences = compared.map((one, index) => {
    const { first, later } = pair(index)
    return `count(DISTINCT l.id) FILTER (WHERE NOT (${lacks(one, first)}) AND NOT (${lacks(one, later)}) AND ${first}::text IS DISTINCT FROM ${later}::text)`
  })
  const example = `jsonb_build_object('id', id, 'copies', copies, 'kept', keys[1], 'moved', to_jsonb(keys[2:${EXAMPLE_ROWS + 1}]))`
  const { rows } = await query<{ found: Found }>(
    `WITH doubled AS MATERIALIZED (
       SELECT ${column.sql} AS id FROM ${sql} WHERE ${predicate} GROUP BY ${column.sql} HAVING count(*) > 1
     ), copies AS MATERIALIZED (
       SELECT ${wholeRow(target, 't')} AS r, t.${column.sql}::text AS id, ${rowKeyText(target, 't')} AS key,
         row_number() OVER (PARTITION BY t.${column.sql} ORDER BY ${orderBy(target.order, 't')}) AS n
       FROM ${sql} t JOIN doubled d ON d.id = t.${column.sql}
     ), groups AS MATERIALIZED (
       SELECT id, count(*)::int AS copies, (array_agg(key ORDER BY n) FILTER (WHERE n <= ${EXAMPLE_ROWS + 1})) AS keys,
         min(place) AS place
       FROM (SELECT *, row_number() OVER (ORDER BY ${orderBy(target.order, '(copies.r)')}) AS place FROM copies) c
       GROUP BY id
     )
     SELECT jsonb_build_object(
       'groups', (SELECT count(*) FROM groups),
       'rows', (SELECT count(*) FROM copies),
       'examples', (SELECT jsonb_agg(${example} ORDER BY place) FROM (SELECT * FROM groups ORDER BY place LIMIT ${EXAMPLES}) g),
       'largest', (SELECT ${example} FROM groups ORDER BY copies DESC, place LIMIT 1),
       'references', ${countArray(references.map(referenceCount))},
       'conflicts', ${countArray(conflicts)},
       'gaps', ${pairCounts(gaps)},
       'differences', ${pairCounts(differences)}
     ) AS found`,
  )
  const found = rows[0]?.found
  if (!found) throw new Error('the report came back empty')
  return found
}

function referenceCount(reference: Reference): string {
  return `(SELECT count(*) FROM ${reference.sql} c JOIN copies o ON ${joinCondition(reference, 'c', '(o.r)')} WHERE o.n > 1)`
}

/** An array, because a function takes at most 100 arguments and a table may have more columns. */
function countArray(counts: readonly string[]): string {
  return `to_jsonb(ARRAY[${counts.join(', ')}]::bigint[])`
}

function pairCounts(counts: readonly string[]): string {
  return `(SELECT ${countArray(counts)} FROM copies l JOIN copies f ON f.id = l.id AND f.n = 1 WHERE l.n > 1)`
}

/**
 * SQL that counts the rows of the referring table that its unique indexes would refuse after re-pointing. Indexes on
 * expressions are not counted.
 */
async function conflictCounts(query: Query, reference: Reference): Promise<string> {
  const { rows } = await query<{ columns: string[]; predicate: string | null }>(
    `SELECT array_agg(a.attname::text ORDER BY u.place) AS columns, pg_get_expr(i.indpred, i.indrelid) AS predicate
     FROM pg_index i
     CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS u(attnum, place)
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
     WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indexprs IS NULL AND u.place <= i.indnkeyatts
     GROUP BY i.indexrelid, i.indpred, i.indrelid`,
    [reference.tableOid],
  )
  const isReferring = (column: string) => reference.columns.includes(quoteName(column))
  const touching = rows.filter(({ columns }) => columns.some(isReferring))
  if (touching.length === 0) return '0'
  const counts = touching.map(({ columns, predicate }) => {
    const others = columns.filter((column) => !isReferring(column)).map(quoteName)
    const notNull = others.map((one) => `AND c.${one} IS NOT NULL`).join(' ')
    return `(SELECT coalesce(sum(n - 1), 0) FROM (
       SELECT count(*) AS n FROM (SELECT * FROM ${reference.sql} ${predicate === null ? '' : `WHERE ${predicate}`}) c
       JOIN copies o ON ${joinCondition(reference, 'c', '(o.r)')} ${notNull}
       GROUP BY ${['o.id', ...others.map((one) => `c.${one}`)].join(', ')} HAVING count(*) > 1) twice)`
  })
  return `(${counts.join(' + ')})`
}

function countsByColumn(
  columns: readonly { name: string }[],
  counts: readonly number[],
): Record<string, number> {
  const pairs = columns.map(({ name }, index): [string, number] => [name, counts[index] ?? 0])
  return Object.fromEntries(pairs.filter(([, count]) => count > 0))
}

async function countLongIds(query: Query, { sql, column }: Target): Promise<number> {
  const { rows } = await query<{ count: number }>(
    `SELECT count(*)::int AS count FROM ${sql} WHERE octet_length(${column.sql}) > ${MAX_WA_MESSAGE_ID_BYTES}`,
  )
  return rows[0]?.count ?? 0
}

async function readSize(query: Query, { oid }: Target): Promise<DedupeReport['size']> {
  const { rows } = await query<{ estimated_rows: number; bytes: number }>(
    `SELECT greatest(reltuples, 0)::float8 AS estimated_rows, pg_total_relation_size(oid)::float8 AS bytes
     FROM pg_class WHERE oid = $1::oid`,
    [oid],
  )
  return rows[0] ?? { estimated_rows: 0, bytes: 0 }
}

/** Bit 3 of tgtype is DELETE. */
async function findDeleteTriggers(query: Query, { oid }: Target): Promise<string[]> {
  const { rows } = await query<{ name: string }>(
    `SELECT tgname AS name FROM pg_trigger
     WHERE tgrelid = $1::oid AND NOT tgisinternal AND tgtype & 8 <> 0 AND tgenabled <> 'D' ORDER BY 1`,
    [oid],
  )
  return rows.map(({ name }) => name)
}
