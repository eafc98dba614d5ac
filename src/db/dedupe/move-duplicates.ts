/**
 * Finds ids that are in the table more than once, and moves every copy but the first, in small transactions.
 *
 * A transaction has its row locks for about BATCH_TARGET_MS on any machine, because its size follows the time that the last
 * one took. An id that cannot be cleaned (because of a constraint of a referring table) is left out, and only that id.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { isLockFailure } from '../any-table/locks.ts'
import {
  type Move,
  type MoveContext,
  type MoveResult,
  moveRows,
  RowRefusedError,
  readCopies,
} from '../any-table/move-rows.ts'
import { sqlStateOf } from '../errors.ts'
import type { Session } from './session.ts'

/** The time of one transaction, and so about the longest wait of a writer that needs one of its rows. */
const BATCH_TARGET_MS = 100
const FIRST_BATCH_ROWS = 50
/** The pause before ids whose rows other transactions have locked are tried again. */
const PASS_PAUSE_MS = 500
const CURSOR = 'wa_ingest_dedupe'

export type MoveTally = {
  moved: number
  repointed: Record<string, number>
  /** Ids that keep their copies, with the reason. */
  leftOut: Map<string, string>
  longestBatchMs: number
}

export type MoveOptions = {
  /** Most rows in one transaction. */
  batchSize: number
  onProgress: (moved: number, total: number, details?: string) => void
}

export function emptyTally(): MoveTally {
  return { moved: 0, repointed: {}, leftOut: new Map(), longestBatchMs: 0 }
}

/** Repeats until only the ids left out have copies. Adds to `tally` after each batch, so a stop loses nothing. */
export async function moveDuplicates(
  session: Session,
  context: MoveContext,
  tally: MoveTally,
  options: MoveOptions,
): Promise<void> {
  let batchRows = Math.min(FIRST_BATCH_ROWS, options.batchSize)
  for (;;) {
    const before = tally.moved
    let waiting = 0
    const total = before + (await openCursor(session, context))
    for await (const ids of doubledIds(session, tally, () => batchRows)) {
      session.signal.throwIfAborted()
      const outcome = await moveIds(session, context, ids, batchRows, tally)
      waiting += outcome.waiting
      batchRows = nextBatchRows(batchRows, outcome, options.batchSize)
      options.onProgress(tally.moved, total, waiting > 0 ? `${waiting} waiting for row locks` : undefined)
    }
    if (waiting === 0 && tally.moved === before) return
    if (waiting > 0) await delay(PASS_PAUSE_MS, undefined, { signal: session.signal })
  }
}

/**
 * The server makes the list of ids with copies once and keeps it (WITH HOLD): no snapshot stays open meanwhile, and the
 * list takes no memory of this process however long it is.
 * @returns how many rows there are to move.
 */
async function openCursor(session: Session, { target }: MoveContext): Promise<number> {
  const doubled = `SELECT ${target.column.sql}::text AS id, count(*) AS copies FROM ${target.sql}
    WHERE ${target.predicate} GROUP BY ${target.column.sql} HAVING count(*) > 1`
  await session.query('CLOSE ALL')
  await session.transaction(async (query) => {
    // The only statement that reads the whole table.
    await query('SET LOCAL enable_seqscan = on')
    await query(`DECLARE ${CURSOR} SCROLL CURSOR WITH HOLD FOR
      SELECT id, copies::int AS copies, sum(copies - 1) OVER ()::int AS total FROM (${doubled}) d`)
  })
  const { rows } = await session.query<{ total: number }>(`FETCH FIRST FROM ${CURSOR}`)
  await session.query(`MOVE ABSOLUTE 0 IN ${CURSOR}`)
  return rows[0]?.total ?? 0
}

/** Yields ids whose copies together make about one batch; an id with more copies than that alone. */
async function* doubledIds(
  { query }: Session,
  { leftOut }: MoveTally,
  batchRows: () => number,
): AsyncGenerator<string[]> {
  let ids: string[] = []
  let copies = 0
  for (;;) {
    const { rows } = await query<{ id: string; copies: number }>(`FETCH ${batchRows()} FROM ${CURSOR}`)
    if (rows.length === 0) break
    for (const row of rows) {
      if (leftOut.has(row.id)) continue
      ids.push(row.id)
      copies += row.copies
      if (copies < batchRows()) continue
      yield ids
      ids = []
      copies = 0
    }
  }
  if (ids.length > 0) yield ids
}

type BatchOutcome = { durationMs: number; waiting: number; isCutShort: boolean }

/** Moves the copies of these ids, in as many transactions as it takes. */
async function moveIds(
  session: Session,
  context: MoveContext,
  ids: readonly string[],
  batchRows: number,
  tally: MoveTally,
): Promise<BatchOutcome> {
  let durationMs = 0
  for (;;) {
    const open = ids.filter((id) => !tally.leftOut.has(id))
    const { rows } = await session.query<{ id: string; key: string }>(readCopies(context.target), [
      open,
      open.length + batchRows,
    ])
    const moves = movesOf(rows)
    if (moves.length === 0) return { durationMs, waiting: 0, isCutShort: false }
    const startedAt = performance.now()
    const result = await attempt(session, context, moves, tally)
    durationMs = performance.now() - startedAt
    if (result === 'locked') return { durationMs, waiting: ids.length, isCutShort: true }
    addResult(tally, result)
    const waiting = moves.filter(({ id }) => !tally.leftOut.has(id)).length - result.moved.length
    if (waiting > 0) return { durationMs, waiting, isCutShort: false }
    if (moves.length < batchRows) return { durationMs, waiting: 0, isCutShort: false }
  }
}

/** The rows are ordered by id; the first row of each id is kept. */
function movesOf(rows: readonly { id: string; key: string }[]): Move[] {
  const moves: Move[] = []
  let first: { id: string; key: string } | undefined
  for (const row of rows) {
    if (first?.id === row.id) moves.push({ moved: row.key, kept: first.key, id: row.id, held: row.id })
    else first = row
  }
  return moves
}

/** One transaction; one for each id where the rows of an id do not let it succeed. */
async function attempt(
  session: Session,
  context: MoveContext,
  moves: readonly Move[],
  tally: MoveTally,
): Promise<MoveResult | 'locked'> {
  try {
    return await transact(session, context, moves, tally)
  } catch (err) {
    if (isLockFailure(err)) return 'locked'
    if (!isRefusal(err)) throw err
    const ids = new Set(moves.map(({ id }) => id))
    if (ids.size > 1) return await attemptEach(session, context, moves, ids, tally)
    for (const id of ids) tally.leftOut.set(id, reasonOf(err))
    return { moved: [], repointed: {} }
  }
}

async function transact(
  session: Session,
  context: MoveContext,
  moves: readonly Move[],
  tally: MoveTally,
): Promise<MoveResult> {
  const startedAt = performance.now()
  try {
    return await session.transaction((query) => moveRows(query, context, moves, 'duplicate'))
  } finally {
    tally.longestBatchMs = Math.max(tally.longestBatchMs, performance.now() - startedAt)
  }
}

async function attemptEach(
  session: Session,
  context: MoveContext,
  moves: readonly Move[],
  ids: ReadonlySet<string>,
  tally: MoveTally,
): Promise<MoveResult> {
  const all: MoveResult = { moved: [], repointed: {} }
  for (const id of ids) {
    session.signal.throwIfAborted()
    const ofId = moves.filter((move) => move.id === id)
    const result = await attempt(session, context, ofId, tally)
    if (result === 'locked') continue
    all.moved.push(...result.moved)
    addCounts(all.repointed, result.repointed)
  }
  return all
}

/** Errors of these rows and not of the run: data (22), constraints (23), and what triggers raise (P0, 45 by convention). */
export function isRefusal(err: unknown): boolean {
  return err instanceof RowRefusedError || /^(?:22|23|45|P0)/.test(sqlStateOf(err) ?? '')
}

export function reasonOf(err: unknown): string {
  if (!(err instanceof Error)) return String(err)
  const table = 'table' in err && typeof err.table === 'string' ? ` (${err.table})` : ''
  return err.message + table
}

function nextBatchRows(rows: number, { durationMs, isCutShort }: BatchOutcome, most: number): number {
  if (isCutShort || durationMs > 2 * BATCH_TARGET_MS) return Math.max(1, Math.floor(rows / 2))
  return durationMs < BATCH_TARGET_MS ? Math.min(most, rows * 2) : rows
}

export function addResult(tally: MoveTally, { moved, repointed }: MoveResult): void {
  tally.moved += moved.length
  addCounts(tally.repointed, repointed)
}

function addCounts(counts: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(more)) counts[name] = (counts[name] ?? 0) + count
}
