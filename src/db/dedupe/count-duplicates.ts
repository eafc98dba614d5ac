/** Counts the ids that are in a table more than once. */
import type { Query } from '../any-table/query.ts'
import type { Target } from '../any-table/target.ts'

export type Duplicates = {
  /** Ids that are in the table more than once. */
  groups: number
  /** Rows beyond the first. */
  rows: number
  /** A few of the ids. */
  examples: string[]
}

const EXAMPLES = 5

/**
 * Reads the table and no index, because a damaged index shows no duplicates; no index is on `column || ''`. The examples
 * are the first ids in order, so that they stay the same from one call to the next.
 */
export async function countDuplicates(
  query: Query,
  { sql, column }: Pick<Target, 'sql' | 'column'>,
): Promise<Duplicates> {
  const id = `(${column.sql}::text || '')`
  const { rows } = await query<{ groups: string; rows: string; examples: string[] | null }>(
    `WITH doubled AS (
       SELECT ${id} AS id, count(*) AS copies FROM ${sql} GROUP BY ${id} HAVING count(*) > 1 AND ${id} <> ''
     )
     SELECT count(*) AS groups, coalesce(sum(copies - 1), 0) AS rows,
       (SELECT array_agg(id) FROM (SELECT id FROM doubled ORDER BY id LIMIT ${EXAMPLES}) e) AS examples FROM doubled`,
  )
  const row = rows[0]
  return { groups: Number(row?.groups ?? 0), rows: Number(row?.rows ?? 0), examples: row?.examples ?? [] }
}
