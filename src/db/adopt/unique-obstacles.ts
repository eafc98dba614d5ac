/** Unique indexes of an old table that would refuse rows of ours. */
import { quoteName } from '../any-table/names.ts'
import { columnOf, type IndexShape, type TableShape } from './shape.ts'

/** Each of these is different in every row of ours, so an index that holds one of them refuses none. */
const ALWAYS_DIFFERENT = ['id', 'wa_message_id', 'client_message_id', 'callback_id']

export function findUniqueObstacles(
  there: TableShape,
  ours: TableShape,
  setAside: ReadonlySet<string>,
): string[] {
  const known = new Set(ours.indexes.map(({ name }) => name))
  return there.indexes
    .filter((index) => index.isUnique && !known.has(index.name) && mayRefuse(index, there, ours, setAside))
    .map((index) => {
      const drop =
        index.constraint === null
          ? `DROP INDEX CONCURRENTLY ${quoteName(index.name)}`
          : `ALTER TABLE ${there.name} DROP CONSTRAINT ${quoteName(index.constraint)}`
      return `${there.name} has the unique index ${index.name} (${index.columns.join(', ')}), which would refuse messages of wa-ingest; run: ${drop}`
    })
}

/** What we do not write is NULL, and NULLs are different; unless the column has a default that is the same in every row. */
function mayRefuse(
  index: IndexShape,
  there: TableShape,
  ours: TableShape,
  setAside: ReadonlySet<string>,
): boolean {
  if (index.definition.includes('NULLS NOT DISTINCT')) return true
  return index.columns.every((name) => {
    if (name === '') return true
    const isOurs = columnOf(ours, name) !== undefined && !setAside.has(name)
    if (isOurs) return !ALWAYS_DIFFERENT.includes(name)
    const column = columnOf(there, name)
    const isDifferent = column?.identity !== '' || column.default === null || column.default.includes('(')
    return !isDifferent
  })
}
