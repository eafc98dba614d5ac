/** Fills gaps (`--merge`): what the kept row lacks is copied from the first later copy that has it. */
import type { Column, Target } from './target.ts'
import { dataColumns, keyEquals, orderBy, rowKeyText } from './target.ts'

/** SQL: whether `value` (SQL too) of the column is a gap: NULL, or an empty text. */
export function lacks(column: Column, value: string): string {
  return isText(column) ? `(${value} IS NULL OR ${value} = '')` : `${value} IS NULL`
}

/** The columns that can have a gap. */
function fillableColumns(target: Target): Column[] {
  return dataColumns(target).filter((column) => !column.isGenerated && (!column.isNotNull || isText(column)))
}

/**
 * The UPDATE that fills the gaps from the CTE `gone`: the deleted rows (`r`), each with the key of the kept row (`kept`).
 * Undefined where no column can have a gap. SELECT DISTINCT reads all of `gone` before the first update, so every deletion
 * is done and a unique value can move to the kept row.
 */
export function gapFilling(target: Target): string | undefined {
  const columns = fillableColumns(target)
  if (columns.length === 0) return undefined
  const order = orderBy(target.order, '(g.r)')
  const values = columns.map(
    (column, index) =>
      `(SELECT (g.r).${column.sql} FROM gone g
        WHERE g.kept = d.kept AND NOT (${lacks(column, `(g.r).${column.sql}`)}) ORDER BY ${order} LIMIT 1) AS v${index}`,
  )
  const isGap = columns.map(
    (column, index) => `(${lacks(column, `k.${column.sql}`)} AND f.v${index} IS NOT NULL)`,
  )
  const assignments = columns.map(
    (column, index) =>
      `${column.sql} = CASE WHEN ${lacks(column, `k.${column.sql}`)} THEN coalesce(f.v${index}, k.${column.sql}) ELSE k.${column.sql} END`,
  )
  return `UPDATE ${target.sql} k SET ${assignments.join(', ')}
    FROM (SELECT DISTINCT kept FROM gone) d CROSS JOIN LATERAL (SELECT ${values.join(', ')}) f
    WHERE ${keyEquals(target, 'k', 'd.kept')} AND (${isGap.join(' OR ')}) RETURNING ${rowKeyText(target, 'k')}`
}

function isText({ type }: Column): boolean {
  return /^(?:text|character varying|character|.*\.citext)(?:\(\d+\))?$/.test(type)
}
