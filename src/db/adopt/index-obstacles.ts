/** Indexes of an old table that prevent its adoption. */
import { MESSAGES } from '../any-table/message-index.ts'
import { quoteName } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { indexNameFor } from '../any-table/target.ts'
import { describeFault, inspectIndex } from '../any-table/unique-index.ts'
import { columnOf, type IndexShape, type TableShape } from './shape.ts'

/** Each of these is different in every row of ours, so a unique index that contains one of them refuses none. */
const ALWAYS_DIFFERENT = ['id', 'wa_message_id', 'client_message_id', 'callback_id']
const MESSAGE_INDEX = indexNameFor(MESSAGES.table, MESSAGES.column)

/** Unique indexes that would refuse rows of this service. `setAside`: columns that will have been renamed. */
export function findUniqueObstacles(
  old: TableShape,
  target: TableShape,
  setAside: ReadonlySet<string>,
): string[] {
  const known = new Set(target.indexes.map(({ name }) => name))
  return old.indexes
    .filter((index) => index.isUnique && !known.has(index.name) && mayRefuse(index, old, target, setAside))
    .map((index) => {
      const drop =
        index.constraint === null
          ? `DROP INDEX CONCURRENTLY ${quoteName(index.name)}`
          : `ALTER TABLE ${old.name} DROP CONSTRAINT ${quoteName(index.constraint)}`
      return `${old.name} has the unique index ${index.name} (${index.columns.join(', ')}), which would refuse messages of wa-ingest; run: ${drop}`
    })
}

/** A column that this service does not write is NULL, and NULLs differ, unless its default is the same in every row. */
function mayRefuse(
  index: IndexShape,
  old: TableShape,
  target: TableShape,
  setAside: ReadonlySet<string>,
): boolean {
  if (index.definition.includes('NULLS NOT DISTINCT')) return true
  return index.columns.every((name) => {
    if (name === '') return true
    const isOurs = columnOf(target, name) !== undefined && !setAside.has(name)
    if (isOurs) return !ALWAYS_DIFFERENT.includes(name)
    const column = columnOf(old, name)
    const isDifferent = column?.identity !== '' || column.default === null || column.default.includes('(')
    return !isDifferent
  })
}

/** Indexes that have the name of one of ours and another definition. An INVALID one is no obstacle: it is built again. */
export async function findTakenIndexNames(
  query: Query,
  old: TableShape,
  target: TableShape,
  schema: string,
): Promise<string[]> {
  const taken: string[] = []
  for (const { name, definition, constraint } of target.indexes) {
    const index = old.indexes.find((one) => one.name === name)
    if (constraint !== null || !index?.isValid) continue
    if (name === MESSAGE_INDEX) {
      const table = { oid: old.oid, schema, indexName: name, column: { name: MESSAGES.column } }
      const state = await inspectIndex(query, table)
      const fault = describeFault(state, old.name, 'npx wa-ingest dedupe --apply')
      if (fault !== undefined) taken.push(fault)
    } else if (withoutCasts(index.definition) !== withoutCasts(definition)) {
      taken.push(
        `the index ${name} has another definition: ${index.definition}; run: ALTER INDEX ${quoteName(name)} RENAME TO ${quoteName(`old_${name}`)}`,
      )
    }
  }
  return taken
}

/** PostgreSQL prints casts where columns have another type. */
function withoutCasts(definition: string): string {
  return definition.replaceAll(/::(?:text|character varying)|[()\s]/g, '')
}
