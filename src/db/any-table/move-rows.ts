/**
 * Moves rows into quarantine. Both dedupe and the merge of messages take rows out of a table in this way only.
 *
 * Inside one transaction: lock the rows, copy them whole, re-point what refers to them, delete them. The lock comes first,
 * because it keeps new references to a row from appearing. So when a row is deleted nothing refers to it, and ON DELETE
 * CASCADE deletes nothing else.
 */

import { gapFilling } from './fill-gaps.ts'
import type { Query } from './query.ts'
import { columnsBesideKey, joinCondition, labelOf, type Reference } from './references.ts'
import { TableError } from './table-error.ts'
import { keyEquals, orderBy, rowKeyText, type Target, wholeRow } from './target.ts'

export type Move = {
  /** The keys of the row that moves and of the row that stays, as `rowKeyText` makes them. */
  moved: string
  kept: string
  id: string
  /** The present value of the column in the moved row: the id, or a placeholder for it. */
  held: string | null
}

export type MoveContext = {
  target: Target
  references: readonly Reference[]
  runId: string
  /** Fill the gaps of the kept row from the rows that move. */
  fillsGaps: boolean
}

export type MoveResult = {
  moved: Move[]
  /** How many rows referred to a moved row and were re-pointed, by the label of the foreign key. */
  repointed: Record<string, number>
}

/**
 * Moves the rows that can be locked at once. A row that another transaction is changing, or that has changed since it was
 * read, is left out; the result says which rows moved.
 * @param query in a transaction that the caller rolls back when this throws.
 * @throws RowRefusedError when a trigger, a rule or a foreign key does not let a row move.
 */
export async function moveRows(
  query: Query,
  context: MoveContext,
  moves: readonly Move[],
  reason: string,
): Promise<MoveResult> {
  const moved = await lockRows(query, context, moves)
  const repointed: Record<string, number> = {}
  if (moved.length === 0) return { moved, repointed }
  await copyToQuarantine(query, context, moved, reason)
  for (const reference of context.references) {
    const count = await repoint(query, context.target, reference, moved)
    if (count > 0) repointed[labelOf(reference)] = (repointed[labelOf(reference)] ?? 0) + count
  }
  for (const reference of context.references)
    await refuseLeftReferences(query, context.target, reference, moved)
  await deleteRows(query, context, moved)
  return { moved, repointed }
}

/**
 * The row that moves gets the lock that keeps new references away. The row that stays gets only the lock that keeps it
 * from being deleted, or one that allows an update where gaps are filled. In the order of the key, and without waiting.
 */
async function lockRows(query: Query, context: MoveContext, moves: readonly Move[]): Promise<Move[]> {
  const { target, fillsGaps } = context
  const lock = async (keys: readonly string[], held: readonly (string | null)[], mode: string) => {
    const { rows } = await query<{ key: string }>(
      `SELECT m.key FROM unnest($1::text[], $2::text[]) AS m(key, held)
       JOIN ${target.sql} t ON ${keyEquals(target, 't', 'm.key')} AND t.${target.column.sql} IS NOT DISTINCT FROM m.held
       ORDER BY ${orderBy(target.key, 't')} FOR ${mode} OF t SKIP LOCKED`,
      [keys, held],
    )
    return new Set(rows.map(({ key }) => key))
  }
  const ids = new Map(moves.map(({ kept, id }) => [kept, id]))
  const kept = await lock([...ids.keys()], [...ids.values()], fillsGaps ? 'NO KEY UPDATE' : 'KEY SHARE')
  const candidates = moves.filter((move) => kept.has(move.kept))
  const locked = await lock(
    candidates.map(({ moved }) => moved),
    candidates.map(({ held }) => held),
    'UPDATE',
  )
  return candidates.filter(({ moved }) => locked.has(moved))
}

async function copyToQuarantine(
  query: Query,
  { target, runId }: MoveContext,
  moves: readonly Move[],
  reason: string,
): Promise<void> {
  // The copy gets the id even where the row has a placeholder: it is the row as its writer meant it.
  const { count } = await query(
    `INSERT INTO ${target.quarantine} (run_id, source_table, original_id, kept_id, wa_message_id, reason, "row")
     SELECT $1, $2, m.moved, m.kept, m.id, $3, to_jsonb(t.*) || jsonb_build_object($4::text, m.id)
     FROM unnest($5::text[], $6::text[], $7::text[]) AS m(moved, kept, id)
     JOIN ${target.sql} t ON ${keyEquals(target, 't', 'm.moved')}
     ORDER BY ${orderBy(target.order, 't')}`,
    [runId, target.name, reason, target.column.name, ...columnsOf(moves)],
  )
  assertAll(count, moves, 'copied')
}

async function repoint(
  query: Query,
  target: Target,
  reference: Reference,
  moves: readonly Move[],
): Promise<number> {
  const { sql, columns, referenced } = reference
  const pairs = `unnest($1::text[], $2::text[]) AS m(moved, kept)
     JOIN ${target.sql} o ON ${keyEquals(target, 'o', 'm.moved')}
     JOIN ${target.sql} k ON ${keyEquals(target, 'k', 'm.kept')}`
  const [moved, kept] = columnsOf(moves)
  await refuseForeignPairs(query, target, reference, pairs, [moved, kept])
  const assignments = columns.map((column, index) => `${column} = k.${referenced[index]}`)
  const { count } = await query(
    `UPDATE ${sql} c SET ${assignments.join(', ')} FROM ${pairs} WHERE ${joinCondition(reference, 'c', 'o')}`,
    [moved, kept],
  )
  return count
}

/**
 * A foreign key over (tenant, id) must not follow a message into another tenant: the referring row would change its tenant.
 */
async function refuseForeignPairs(
  query: Query,
  target: Target,
  reference: Reference,
  pairs: string,
  keys: unknown[],
): Promise<void> {
  if (reference.columns.length === 1) return
  const beside = columnsBesideKey(target, reference)
  if (beside.length === 0) return
  const differs = beside.map((column) => `o.${column} IS DISTINCT FROM k.${column}`).join(' OR ')
  const { rows } = await query<{ moved: string; kept: string }>(
    `SELECT m.moved, m.kept FROM ${pairs} WHERE (${differs})
       AND EXISTS (SELECT FROM ${reference.sql} c WHERE ${joinCondition(reference, 'c', 'o')}) LIMIT 1`,
    keys,
  )
  const pair = rows[0]
  if (!pair) return
  throw new RowRefusedError(
    `${labelOf(reference)} refers to row ${pair.moved}, which differs from row ${pair.kept} in ${beside.join(', ')}`,
  )
}

/** A trigger or a rule may have kept a reference as it was. Deleting the row would then delete the referring row. */
async function refuseLeftReferences(
  query: Query,
  target: Target,
  reference: Reference,
  moves: readonly Move[],
): Promise<void> {
  const { rows } = await query<{ moved: string }>(
    `SELECT m.moved FROM unnest($1::text[]) AS m(moved) JOIN ${target.sql} o ON ${keyEquals(target, 'o', 'm.moved')}
     WHERE EXISTS (SELECT FROM ${reference.sql} c WHERE ${joinCondition(reference, 'c', 'o')}) LIMIT 1`,
    [moves.map(({ moved }) => moved)],
  )
  if (!rows[0]) return
  throw new RowRefusedError(
    `${labelOf(reference)} still refers to row ${rows[0].moved} after re-pointing: a trigger or rule of ${reference.table} stands against it`,
  )
}

/** These rows cannot move. Rows of other ids can. */
export class RowRefusedError extends TableError {
  override name = 'RowRefusedError'
}

async function deleteRows(query: Query, context: MoveContext, moves: readonly Move[]): Promise<void> {
  const { target, fillsGaps } = context
  const [moved, kept] = columnsOf(moves)
  const gone = `DELETE FROM ${target.sql} t USING unnest($1::text[], $2::text[]) AS m(moved, kept)
     WHERE ${keyEquals(target, 't', 'm.moved')}`
  const filling = fillsGaps ? gapFilling(target) : undefined
  const statement =
    filling === undefined
      ? `WITH gone AS (${gone} RETURNING 1) SELECT count(*)::int AS count FROM gone`
      : `WITH gone AS (${gone} RETURNING ${wholeRow(target, 't')} AS r, m.kept), filled AS (${filling}) SELECT count(*)::int AS count FROM gone`
  const { rows } = await query<{ count: number }>(statement, [moved, kept])
  assertAll(rows[0]?.count ?? 0, moves, 'taken out of the table')
}

/** @returns keys that move, keys that stay, ids. */
function columnsOf(moves: readonly Move[]): [string[], string[], string[]] {
  return [moves.map(({ moved }) => moved), moves.map(({ kept }) => kept), moves.map(({ id }) => id)]
}

/** A trigger or a rule of the table may skip rows. */
function assertAll(count: number, moves: readonly Move[], what: string): void {
  if (count === moves.length) return
  throw new RowRefusedError(
    `${moves.length - count} of ${moves.length} rows could not be ${what}: a trigger or rule of the table stands against it`,
  )
}

/** SQL: ids and keys of all rows with one of the ids $1, at most $2 rows; of each id the kept row first. */
export function readCopies(target: Target): string {
  return `SELECT t.${target.column.sql}::text AS id, ${rowKeyText(target, 't')} AS key FROM ${target.sql} t
    WHERE t.${target.column.sql} = ANY($1::text[]) AND ${target.predicate}
    ORDER BY t.${target.column.sql}, ${orderBy(target.order, 't')} LIMIT $2`
}
