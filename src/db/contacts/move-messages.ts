/**
 * Moves the messages of merged conversations to the conversations that they belong to.
 *
 * The merge itself moves what must be in place at once, and a small rest; `conversations.moving_since` marks those that still
 * have messages. Moving goes on in steps of their own transactions, so a merge of a million messages holds no lock for long,
 * and a step that was interrupted is simply done again. Readers see no difference: see ../merged-conversations.ts.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'
import { lockMergesShared } from './merge-lock.ts'

/** What a merge moves in its own transaction. */
const MAX_ROWS_AT_ONCE = 500
const MIN_ROWS_A_STEP = 100
const MAX_ROWS_A_STEP = 2_000
/** A merge waits for a step to end, and others wait for that merge. */
const MAX_STEP_MS = 100

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
  let left = MAX_ROWS_AT_ONCE
  for (const loser of losers) {
    if (left > 0) left -= (await moveSome(trx, loser, '0', left)).moved
    await sql`
      UPDATE conversations v SET moving_since = now()
      WHERE v.id = ${loser} AND v.moving_since IS NULL AND ${hasMessages()}`.execute(trx)
  }
}

/**
 * Moves the messages of all merged conversations, in steps, with pauses as long as the steps. Returns how many it has moved.
 * Rows that are locked at the moment are left for the next call. Safe to run in several processes at once.
 */
export async function moveMergedMessages(db: Kysely<Database>, signal?: AbortSignal): Promise<number> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM conversations WHERE moving_since IS NOT NULL ORDER BY moving_since, id`.execute(db)
  let total = 0
  for (const { id } of rows) total += await moveConversation(db, id, signal)
  return total
}

async function moveConversation(
  db: Kysely<Database>,
  loser: string,
  signal: AbortSignal | undefined,
): Promise<number> {
  let total = 0
  let limit = MAX_ROWS_AT_ONCE
  let step: Step = { moved: 0, last: '0' }
  while (step.last !== undefined && !signal?.aborted) {
    const { last } = step
    const startedAt = performance.now()
    step = await db.transaction().execute((trx) => moveStep(trx, loser, last, limit))
    const tookMs = performance.now() - startedAt
    total += step.moved
    const next = tookMs > MAX_STEP_MS ? limit / 2 : limit * 1.5
    limit = Math.max(MIN_ROWS_A_STEP, Math.min(MAX_ROWS_A_STEP, Math.floor(next)))
    await delay(tookMs)
  }
  return total
}

/** `last`: the id of the last message that was moved; undefined when none was left behind it. */
type Step = { moved: number; last: string | undefined }

/** The merge lock keeps `merged_into` as it is until the step is committed. */
async function moveStep(
  trx: Transaction<Database>,
  loser: string,
  after: string,
  limit: number,
): Promise<Step> {
  await lockMergesShared(trx)
  const step = await moveSome(trx, loser, after, limit)
  if (step.last === undefined)
    await sql`UPDATE conversations v SET moving_since = NULL WHERE v.id = ${loser} AND NOT ${hasMessages()}`.execute(
      trx,
    )
  return step
}

/** Waits for no other transaction: so it cannot deadlock with one that locks messages in another order. */
async function moveSome(
  trx: Transaction<Database>,
  loser: string,
  after: string,
  limit: number,
): Promise<Step> {
  const { rows } = await sql<{ moved: string; last: string | null }>`
    WITH locked AS MATERIALIZED (
      SELECT id FROM chat_messages m WHERE ${isOfConversation(sql`${loser}::bigint`, sql`${after}::bigint`)}
      ORDER BY m.conversation_id, m.id LIMIT ${limit} FOR NO KEY UPDATE SKIP LOCKED
    ), moved AS (${moveLocked()} RETURNING m.id)
    SELECT count(*) AS moved, max(id) AS last FROM moved`.execute(trx)
  const [{ moved, last } = { moved: 0, last: null }] = rows
  return { moved: Number(moved), last: last ?? undefined }
}

/**
 * SQL: whether row `m` is of the conversation and has a higher id than `after`. As ranges of the index on (conversation_id,
 * id): the planner must not read a large part of the table instead, in the order of the ids, because of what it believes
 * about the size of the conversation (measured: 600 ms instead of 1 among 300,000 messages).
 */
export function isOfConversation(conversation: RawBuilder<unknown>, after: RawBuilder<unknown>) {
  return sql`(m.conversation_id, m.id) > (${conversation}, ${after})
    AND (m.conversation_id, m.id) < (${conversation} + 1, 0::bigint)`
}

/** SQL: whether the conversation `v` has messages. */
function hasMessages() {
  return sql`EXISTS (
    SELECT FROM (
      SELECT FROM chat_messages m WHERE ${isOfConversation(sql`v.id`, sql`0::bigint`)}
      ORDER BY m.conversation_id, m.id LIMIT 1
    ) first
  )`
}

/** SQL: moves the messages of the CTE `locked`. Nothing is announced: what readers see was announced with the merge. */
function moveLocked() {
  return sql`
    UPDATE chat_messages m SET conversation_id = v.merged_into,
      original_conversation_id = coalesce(m.original_conversation_id, v.id)
    FROM locked, conversations v
    WHERE m.id = locked.id AND v.id = m.conversation_id AND v.merged_into IS NOT NULL`
}
