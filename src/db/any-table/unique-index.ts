/**
 * The unique index on an id, and what may be wrong with it.
 *
 * `CREATE INDEX IF NOT EXISTS` looks only at the name, so it accepts an INVALID index of a failed build, or another index of
 * the same name. Here the whole definition is checked.
 */
import type { Query } from './query.ts'

export type IndexFault =
  | 'missing'
  /** Left by a build that failed or was cancelled: it may refuse rows, and does not keep ids unique. */
  | 'invalid'
  /** Being built at this moment. */
  | 'building'
  /** The name belongs to an index with other columns, another predicate, or one that is not unique. */
  | 'other_definition'
  /** The name belongs to something that is no index of this table. */
  | 'name_taken'

export type IndexState = {
  name: string
  /** Absent: the index is right. */
  fault?: IndexFault
  exists: boolean
  is_valid: boolean
  is_unique: boolean
  has_right_columns: boolean
  has_right_predicate: boolean
  /** The index as PostgreSQL prints it. */
  definition?: string
  /** The constraint that owns the index, if one does. */
  constraint?: string
}

type IndexRow = {
  is_index_of_table: boolean
  is_valid: boolean
  is_being_built: boolean
  is_unique: boolean
  has_right_columns: boolean
  predicate: string | null
  column: string
  definition: string
  constraint: string | null
}

export type IndexedTable = { oid: string; schema: string; indexName: string; column: { name: string } }

/** Reads the catalogue only. `name`: of another index of the table that should be like the unique index. */
export async function inspectIndex(
  query: Query,
  table: IndexedTable,
  name = table.indexName,
): Promise<IndexState> {
  const { rows } = await query<IndexRow>(
    `SELECT coalesce(i.indrelid = $3::oid, false) AS is_index_of_table,
       coalesce(i.indisvalid AND i.indisready AND i.indislive, false) AS is_valid,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid) AS is_being_built,
       coalesce(i.indisunique AND i.indimmediate, false) AS is_unique,
       coalesce(i.indnatts = 1 AND i.indexprs IS NULL AND a.attnum IS NOT NULL, false) AS has_right_columns,
       pg_get_expr(i.indpred, i.indrelid) AS predicate, quote_ident($4) AS "column",
       CASE c.relkind WHEN 'i' THEN pg_get_indexdef(c.oid) ELSE '' END AS definition,
       (SELECT conname FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u', 'x')) AS constraint
     FROM pg_class c
     JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_index i ON i.indexrelid = c.oid
     LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = $4
     WHERE n.nspname = $1 AND c.relname = $2`,
    [table.schema, name, table.oid, table.column.name],
  )
  const row = rows[0]
  return row ? describe(name, row) : missing(name)
}

function missing(name: string): IndexState {
  return {
    name,
    fault: 'missing',
    exists: false,
    is_valid: false,
    is_unique: false,
    has_right_columns: false,
    has_right_predicate: false,
  }
}

function describe(name: string, row: IndexRow): IndexState {
  const hasRightPredicate = isRightPredicate(row.predicate, row.column)
  const fault = faultOf(row, hasRightPredicate)
  return {
    name,
    ...(fault ? { fault } : {}),
    exists: row.is_index_of_table,
    is_valid: row.is_valid,
    is_unique: row.is_unique,
    has_right_columns: row.has_right_columns,
    has_right_predicate: hasRightPredicate,
    definition: row.definition,
    ...(row.constraint === null ? {} : { constraint: row.constraint }),
  }
}

function faultOf(row: IndexRow, hasRightPredicate: boolean): IndexFault | undefined {
  if (!row.is_index_of_table) return 'name_taken'
  if (row.is_being_built) return 'building'
  if (!row.is_valid) return 'invalid'
  return row.is_unique && row.has_right_columns && hasRightPredicate ? undefined : 'other_definition'
}

/**
 * Whether a predicate leaves out null and '' and nothing else. Only ANDs can stand in the accepted forms, so brackets
 * and casts do not matter. `<> ''` alone leaves out null too.
 */
function isRightPredicate(predicate: string | null, column: string): boolean {
  if (predicate === null) return false
  const plain = predicate.replaceAll(/::(?:text|character varying)|[()\s]/g, '')
  const name = column.replaceAll(/[()\s]/g, '')
  const notNull = `${name}ISNOTNULL`
  const notEmpty = `${name}<>''`
  return [`${notNull}AND${notEmpty}`, `${notEmpty}AND${notNull}`, notEmpty].includes(plain)
}

/** The fault in words, with the next step; undefined: the index is right. `label`: of the table. */
export function describeFault(state: IndexState, label: string, command: string): string | undefined {
  const { name, fault, definition = '', constraint } = state
  if (fault === 'missing') return `the unique index ${name} is missing; run: ${command}`
  if (fault === 'invalid') return `the index ${name} is INVALID, left by a build that failed; run: ${command}`
  if (fault === 'building') return `the index ${name} is being built at this moment; wait for it`
  if (fault === 'name_taken')
    return `the name ${name} belongs to something that is no index of ${label}; rename that, then run: ${command}`
  if (fault === undefined) return undefined
  const owner = constraint === undefined ? '' : ` (constraint ${constraint})`
  return `the index ${name}${owner} has another definition: ${definition}; run: ${command} --replace-index`
}
