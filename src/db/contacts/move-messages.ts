/**
 * Moves the messages of merged conversations to the conversations that they belong to.
 *
 * The merge itself moves what must be in place at once, and a small rest; `conversations.moving_since` marks those that still
 * have messages. Moving goes on in steps of their own transactions, so a merge of a million messages holds no lock for long,
 * and a step that was interrupted is simply done again. Readers see no difference: see ../merged-conversations.ts.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'
import { lockMergesShared } from './merge-lock.ts'

/** What a merge moves in its own transaction. */
const MAX_ROWS_AT_ONCE = 500
const MIN_ROWS_A_STEP = 50
const MAX_ROWS_A_STEP = 2_000
/** A merge waits for a step to end, and others wait for that merge. */
const MAX_STEP_MS = 50

/**
 * Moves what must move together with its conversation, and up to 500 other messages. Sends in progress must move: they are
 * claimed in order within a conversation. The losers must be merged already, under the exclusive merge lock.
 */
export async function moveWithMerge(trx: Transaction<Database>, losers: readonly string[]): Promise<void> {
  await sql`
    WITH locked AS MATERIALIZED (
      SELECT id FROM chat_messages
      WHERE conversation_id = ANY (${losers}::bigint[]) AND status IN ('queued', 'sending', 'unknown')
      ORDER BY id FOR NO KEY UPDATE
    )
    ${moveLocked()}`.execute(trx)
  await moveSome(trx, losers, MAX_ROWS_AT_ONCE)
  await sql`
    UPDATE conversations v SET moving_since = now()
    WHERE v.id = ANY (${losers}::bigint[]) AND v.moving_since IS NULL
      AND EXISTS (SELECT FROM chat_messages m WHERE m.conversation_id = v.id)`.execute(trx)
}

/**
 * Moves the messages of all merged conversations, in steps, with pauses as long as the steps. Returns how many it has moved.
 * Rows that are locked at the moment are left for the next call. Safe to run in several processes at once.
 */
export async function moveMergedMessages(db: Kysely<Database>, signal?: AbortSignal): Promise<number> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM conversations WHERE moving_since IS NOT NULL ORDER BY moving_since, id`.execute(db)
  let total = 0
  let limit = MAX_ROWS_AT_ONCE
  for (const { id } of rows) {
    for (let moved = limit; moved > 0 && !signal?.aborted; ) {
      const startedAt = performance.now()
      moved = await db.transaction().execute((trx) => moveStep(trx, id, limit))
      const tookMs = performance.now() - startedAt
      total += moved
      const next = tookMs > MAX_STEP_MS ? limit / 2 : limit * 1.5
      limit = Math.max(MIN_ROWS_A_STEP, Math.min(MAX_ROWS_A_STEP, Math.floor(next)))
      await delay(tookMs)
    }
  }
  return total
}

/** The merge lock keeps `merged_into` as it is until the step is committed. */
async function moveStep(trx: Transaction<Database>, loser: string, limit: number): Promise<number> {
  await lockMergesShared(trx)
  const moved = await moveSome(trx, [loser], limit)
  if (moved < limit)
    await sql`
      UPDATE conversations v SET moving_since = NULL
      WHERE v.id = ${loser} AND NOT EXISTS (SELECT FROM chat_messages m WHERE m.conversation_id = v.id)`.execute(
      trx,
    )
  return moved
}

/** Waits for no other transaction: so it cannot deadlock with one that locks messages in another order. */
async function moveSome(
  trx: Transaction<Database>,
  losers: readonly string[],
  limit: number,
): Promise<number> {
  const { rows } = await sql<{ moved: string }>`
    WITH locked AS MATERIALIZED (
      SELECT id FROM chat_messages WHERE conversation_id = ANY (${losers}::bigint[])
      LIMIT ${limit} FOR NO KEY UPDATE SKIP LOCKED
    ), moved AS (${moveLocked()} RETURNING m.id)
    SELECT count(*) AS moved FROM moved`.execute(trx)
  return Number(rows[0]?.moved ?? 0)
}

/** SQL: moves the messages of the CTE `locked`. Nothing is announced: what readers see was announced with the merge. */
function moveLocked() {
  return sql`
    UPDATE chat_messages m SET conversation_id = v.merged_into,
      original_conversation_id = coalesce(m.original_conversation_id, v.id)
    FROM locked, conversations v
    WHERE m.id = locked.id AND v.id = m.conversation_id AND v.merged_into IS NOT NULL`
}
