/** What stands in the id's column while a row waits to be moved. */
import { TableError } from '../any-table/table-error.ts'
import { keyEquals, rowKeyText, type Target } from '../any-table/target.ts'
import type { Session } from './session.ts'

/** SQL of the placeholder for an id, which is given as SQL too. */
export type Placeholder = (id: string) => string

/** For a column without a limit of its own. */
const MAX_LENGTH = 512
/** `#` and 16 random digits. */
const ENDING_LENGTH = 17
const ENDING = `'#' || substr(md5(random()::text || clock_timestamp()::text), 1, ${ENDING_LENGTH - 1})`

/**
 * NULL where the column takes it: the index leaves it alone, and so do unique indexes over several columns. Else the id
 * with a random ending, which most conditions accept. Tried on a real row, in a transaction that is rolled back.
 * @throws TableError when constraints of the table leave nothing to take.
 */
export async function choosePlaceholder(session: Session, target: Target): Promise<Placeholder> {
  const { column, label } = target
  const length = column.maxLength ?? MAX_LENGTH
  const candidates: Placeholder[] = [
    ...(column.isNotNull ? [] : [() => 'NULL']),
    ...(length > ENDING_LENGTH
      ? [(id: string) => `left(${id}, ${length - ENDING_LENGTH}) || ${ENDING}`]
      : []),
  ]
  let reason = `${column.type} has no room for one`
  for (const placeholder of candidates) {
    const refusal = await tryOnOneRow(session, target, placeholder)
    if (refusal === undefined) return placeholder
    reason = refusal
  }
  throw new TableError(
    `${label}.${column.name} takes no placeholder while duplicates are moved (${reason}), so new ones cannot be held off; take away what stands against it (a constraint, a trigger) until the run has ended`,
  )
}

/** The reason why the table does not take it, or undefined. */
async function tryOnOneRow(
  session: Session,
  target: Target,
  placeholder: Placeholder,
): Promise<string | undefined> {
  const { sql, column, predicate } = target
  const anyRow = `SELECT ${rowKeyText(target, 's')} FROM ${sql} s WHERE ${predicate} LIMIT 1 FOR UPDATE SKIP LOCKED`
  const undo = new Error('undo')
  try {
    return await session.transaction(async (query) => {
      await query(
        `UPDATE ${sql} t SET ${column.sql} = ${placeholder(`t.${column.sql}`)} WHERE ${keyEquals(target, 't', `(${anyRow})`)}`,
      )
      throw undo
    })
  } catch (err) {
    if (err === undo) return undefined
    return err instanceof Error ? err.message : String(err)
  }
}
