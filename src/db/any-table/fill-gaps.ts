/** `--merge`: what the kept row lacks is taken from the first later copy that has it. */
import type { Column, Target } from './target.ts'
import { keyEquals, orderBy, rowKeyText } from './target.ts'

/** NULL lacks a value, and so does an empty text. `value` is SQL. */
export function lacks(column: Column, value: string): string {
  return isText(column) ? `(${value} IS NULL OR ${value} = '')` : `${value} IS NULL`
}

/** The columns in which one copy of a message may know what another does not. */
function fillableColumns({ columns, key, column }: Target): Column[] {
  return columns.filter(
    (candidate) =>
      !candidate.isGenerated &&
      candidate.name !== column.name &&
      !key.some(({ name }) => name === candidate.name) &&
      (!candidate.isNotNull || isText(candidate)),
  )
}

/**
 * The UPDATE that fills the gaps from `gone`, the deleted rows (`r`, and `kept`: the key of the row that stays).
 * Undefined: the table has no column with a gap. Reading all of `gone` first is what lets a unique value change hands.
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
