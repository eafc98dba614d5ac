/**
 * Deciding about rows whose id the guard took away: where the id is in another row, the row moves there; where the other
 * row never came to be (its transaction rolled back), the row gets its id back.
 *
 * A row that its writer has not committed yet is not seen, and one that somebody is changing is left for the next time.
 */

import { isLockFailure } from '../any-table/locks.ts'
import { type Move, type MoveContext, moveRows } from '../any-table/move-rows.ts'
import type { Query } from '../any-table/query.ts'
import { keyEquals, orderBy, rowKeyText } from '../any-table/target.ts'
import { SQLSTATE, sqlStateOf } from '../errors.ts'
import { idLockSql } from './guard-sql.ts'
import { temporaryNames } from './leftovers.ts'
import { addResult, isRefusal, type MoveTally, reasonOf } from './move-duplicates.ts'
import type { Session } from './session.ts'

/** Each takes an advisory lock for the length of the transaction, and those are few. */
const BATCH_ROWS = 100

type Listed = { key: string; id: string }
type DeferredRow = Listed & { placeholder: string | null; holder: string | null }

export type RunTally = MoveTally & {
  /** Rows that got their id back. */
  restored: number
}

/** @returns how many rows still wait for a decision that can be made; call again until it is 0. */
export async function resolveDeferred(
  session: Session,
  context: MoveContext,
  tally: RunTally,
): Promise<number> {
  const { deferred } = temporaryNames(context.target)
  let after = ''
  for (;;) {
    session.signal.throwIfAborted()
    const { rows } = await session.query<Listed>(
      `SELECT key, id FROM ${deferred} WHERE key > $1 ORDER BY key LIMIT ${BATCH_ROWS}`,
      [after],
    )
    const last = rows.at(-1)
    if (!last) break
    after = last.key
    await resolve(session, context, rows, tally)
  }
  const { rows } = await session.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM ${deferred} WHERE id <> ALL($1::text[])`,
    [[...tally.leftOut.keys()]],
  )
  return rows[0]?.count ?? 0
}

/** One transaction; where the data of one row stands against it, one for each row. */
async function resolve(
  session: Session,
  context: MoveContext,
  listed: readonly Listed[],
  tally: RunTally,
): Promise<void> {
  try {
    await session.transaction((query) => resolveBatch(query, context, listed, tally))
  } catch (err) {
    if (isLockFailure(err) || isTaken(err, context)) return
    if (!isRefusal(err)) throw err
    const [first, ...others] = listed
    if (others.length > 0) for (const one of listed) await resolve(session, context, [one], tally)
    else if (first) tally.leftOut.set(first.id, reasonOf(err))
  }
}

/** A writer was faster with an id that was about to be given back: the next look finds the row that has it. */
function isTaken(err: unknown, { target }: MoveContext): boolean {
  return (
    sqlStateOf(err) === SQLSTATE.UNIQUE_VIOLATION &&
    err instanceof Error &&
    'constraint' in err &&
    err.constraint === target.indexName
  )
}

/** The listed rows get their ids back as they are, duplicates or not. */
export async function giveBackIds({ query }: Session, { target }: MoveContext): Promise<void> {
  const { deferred } = temporaryNames(target)
  await query(
    `WITH given AS (
       UPDATE ${target.sql} t SET ${target.column.sql} = d.id FROM ${deferred} d
       WHERE ${keyEquals(target, 't', 'd.key')} AND t.${target.column.sql} IS NOT DISTINCT FROM d.placeholder
       RETURNING d.key
     )
     DELETE FROM ${deferred} d USING given WHERE d.key = given.key`,
  )
}

async function resolveBatch(
  query: Query,
  context: MoveContext,
  listed: readonly Listed[],
  tally: RunTally,
): Promise<void> {
  const { target } = context
  const { deferred } = temporaryNames(target)
  // Whoever is inserting one of these ids right now ends first; whoever comes later finds what is decided here.
  await query(
    `SELECT pg_advisory_xact_lock(number) FROM (
       SELECT DISTINCT ${idLockSql(target, 'id')} AS number FROM unnest($1::text[]) AS u(id) ORDER BY 1) numbers`,
    [listed.map(({ id }) => id)],
  )
  const keys = listed.map(({ key }) => key)
  const rows = await lockDeferred(query, context, keys)
  const moves = rows.flatMap(({ key, id, placeholder, holder }): Move[] =>
    holder === null ? [] : [{ moved: key, kept: holder, id, held: placeholder }],
  )
  const result = await moveRows(query, context, moves, 'duplicate, written during the run')
  const restored = await restore(
    query,
    context,
    rows.filter(({ holder }) => holder === null),
  )
  // Gone from the list with those: rows that their writer has deleted, or given another id.
  await query(
    `DELETE FROM ${deferred} d WHERE d.key = ANY($1::text[]) AND NOT EXISTS (
       SELECT FROM ${target.sql} t
       WHERE ${keyEquals(target, 't', 'd.key')} AND t.${target.column.sql} IS NOT DISTINCT FROM d.placeholder)`,
    [keys],
  )
  addResult(tally, result)
  tally.restored += restored
}

/** The listed rows that are still there as the guard left them, each with the key of the row that holds its id. */
async function lockDeferred(
  query: Query,
  { target }: MoveContext,
  keys: readonly string[],
): Promise<DeferredRow[]> {
  const { deferred } = temporaryNames(target)
  // Not LIMIT 1: for that the rows would be read in their order until one has the id.
  const holder = `SELECT (array_agg(${rowKeyText(target, 'h')} ORDER BY ${orderBy(target.order, 'h')}))[1] FROM ${target.sql} h
    WHERE h.${target.column.sql} = d.id AND ${target.predicate}`
  const { rows } = await query<DeferredRow>(
    `SELECT d.key, d.id, d.placeholder, (${holder}) AS holder
     FROM ${deferred} d JOIN ${target.sql} t ON ${keyEquals(target, 't', 'd.key')}
     WHERE d.key = ANY($1::text[]) AND t.${target.column.sql} IS NOT DISTINCT FROM d.placeholder
     ORDER BY ${orderBy(target.key, 't')} FOR UPDATE OF t SKIP LOCKED`,
    [keys],
  )
  return rows
}

/** Of several rows that wait for one id, the first one gets it; the others find it there the next time. */
async function restore(query: Query, { target }: MoveContext, rows: readonly DeferredRow[]): Promise<number> {
  const firsts = [...new Map(rows.toReversed().map((row) => [row.id, row])).values()]
  if (firsts.length === 0) return 0
  const { count } = await query(
    `UPDATE ${target.sql} t SET ${target.column.sql} = m.id
     FROM unnest($1::text[], $2::text[]) AS m(key, id) WHERE ${keyEquals(target, 't', 'm.key')}`,
    [firsts.map(({ key }) => key), firsts.map(({ id }) => id)],
  )
  return count
}
