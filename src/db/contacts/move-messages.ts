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
/** Of bigint: a table that was taken over may have ids below 0. */
const LEAST_ID = '-9223372036854775808'

/**
 * Moves what must move together with its conversation, and up to 500 other messages. Sends in progress must move: they are
 * claimed in order within a conversation. The losers must be merged already, under the exclusive merge lock.
 */
export async function moveWithMerge(trx: Transaction<Database>, losers: readonly string[]): Promise<void> {
  await sql`
    WITH locked AS MATERIALIZED (
      SELECT id FROM chat_messages
      WHERE conversation_id = ANY (${losers}::bigint[]) AND status IN ('queued', 'sending', 'unknown')
      ORDER BY wa_message_id, id FOR NO KEY UPDATE
    )
    ${moveLocked()}`.execute(trx)
  let left = MAX_ROWS_AT_ONCE
  for (const loser of losers) {
    if (left > 0) left -= (await moveSome(trx, loser, LEAST_ID, left)).moved
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
  const { rows } = await sql<Moving>`
    SELECT id, moving_since::text FROM conversations WHERE moving_since IS NOT NULL ORDER BY moving_since, id`.execute(
    db,
  )
  let total = 0
  for (const moving of rows) total += await moveConversation(db, moving, signal)
  return total
}

type Moving = { id: string; moving_since: string }

async function moveConversation(
  db: Kysely<Database>,
  moving: Moving,
  signal: AbortSignal | undefined,
): Promise<number> {
  let total = 0
  let limit = MAX_ROWS_AT_ONCE
  let last = await findStart(db, moving.id)
  while (last !== undefined && !signal?.aborted) {
    const after = last
    const startedAt = performance.now()
    const step = await db.transaction().execute((trx) => moveStep(trx, moving.id, after, limit))
    const tookMs = performance.now() - startedAt
    total += step.moved
    last = step.last
    const next = tookMs > MAX_STEP_MS ? limit / 2 : limit * 1.5
    limit = Math.max(MIN_ROWS_A_STEP, Math.min(MAX_ROWS_A_STEP, Math.floor(next)))
    await delay(tookMs)
  }
  if (!signal?.aborted) await endMove(db, moving)
  return total
}

/**
 * The id before that of the first message; undefined when there is none. The index still has entries of messages that have
 * moved, until they are vacuumed, and a backup that runs keeps them for hours. So this search can take seconds after a million:
 * without the merge lock, for which others would wait.
 */
async function findStart(db: Kysely<Database>, loser: string): Promise<string | undefined> {
  const { rows } = await sql<{ last: string }>`
    SELECT m.id - 1 AS last FROM chat_messages m WHERE ${isOfConversation(sql`${loser}::bigint`, sql`${LEAST_ID}::bigint`)}
    ORDER BY m.conversation_id, m.id LIMIT 1`.execute(db)
  return rows[0]?.last
}

/**
 * Needs no merge lock, which its search must not hold either: nobody writes to a merged conversation. `moving_since` is another
 * one when the conversation has been separated and merged again meanwhile.
 */
async function endMove(db: Kysely<Database>, { id, moving_since }: Moving): Promise<void> {
  await sql`
    UPDATE conversations v SET moving_since = NULL
    WHERE v.id = ${id} AND v.moving_since = ${moving_since}::timestamptz AND NOT ${hasMessages()}`.execute(db)
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
  return moveSome(trx, loser, after, limit)
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
    AND (m.conversation_id, m.id) < (${conversation} + 1, ${LEAST_ID}::bigint)`
}

/** SQL: whether the conversation `v` has messages. */
function hasMessages() {
  return sql`EXISTS (
    SELECT FROM (
      SELECT FROM chat_messages m WHERE ${isOfConversation(sql`v.id`, sql`${LEAST_ID}::bigint`)}
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
