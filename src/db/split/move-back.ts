/**
 * Moves messages back to the conversations that a split has separated, in steps of their own transactions. How far it has come
 * is in `conversation_splits`, so that it can be stopped, killed and begun again.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, sql, type Transaction } from 'kysely'
import { EVENT_VERSION, type InboundJob, type ProviderName, type WebhookEvent } from '../../core/event.ts'
import type { Fact } from '../../core/fact.ts'
import { announce } from '../announce.ts'
import { indexableText } from '../contacts/identifiers.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'

const MIN_ROWS_A_STEP = 50
const MAX_ROWS_A_STEP = 2_000
/** A merge waits for a step to end, and others wait for that merge. */
const MAX_STEP_MS = 50

/** The functions of src/providers that read payloads. */
export type PayloadReader = {
  reparse(event: WebhookEvent): InboundJob[]
  normalize(event: WebhookEvent): Fact
}

/** The latest split that the contact has part in, if not all of its messages have moved. */
export async function findUnfinishedSplit(
  db: Kysely<Database>,
  contactId: string,
): Promise<string | undefined> {
  const { rows } = await sql<{ id: string }>`
    SELECT s.id FROM contact_splits s
    WHERE (s.contact_id = ${contactId} OR s.other_id = ${contactId})
      AND EXISTS (SELECT FROM conversation_splits v WHERE v.contact_split_id = s.id AND v.done_at IS NULL)
    ORDER BY s.id DESC LIMIT 1`.execute(db)
  return rows[0]?.id
}

/** Returns how many messages this split has moved so far, also in earlier calls, and whether it is done. Safe to stop, to repeat and to run beside the service. */
export async function moveBack(
  db: Kysely<Database>,
  splitId: string,
  {
    reader,
    signal,
    onProgress,
  }: { reader: PayloadReader; signal: AbortSignal; onProgress(moved: number): void },
): Promise<{ moved: number; isDone: boolean }> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM conversation_splits WHERE contact_split_id = ${splitId} AND done_at IS NULL ORDER BY id`.execute(
    db,
  )
  let limit = 500
  let left = rows.length
  for (const { id } of rows) {
    for (let isDone = false; !isDone && !signal.aborted; ) {
      const startedAt = performance.now()
      isDone = await retryConflicts(() => db.transaction().execute((trx) => moveStep(trx, id, limit, reader)))
      const tookMs = performance.now() - startedAt
      limit = tookMs > MAX_STEP_MS ? limit / 2 : limit * 1.5
      limit = Math.max(MIN_ROWS_A_STEP, Math.min(MAX_ROWS_A_STEP, Math.floor(limit)))
      onProgress(await countMoved(db, splitId))
      if (isDone) left -= 1
      else await delay(tookMs, undefined, { signal }).catch(() => {})
    }
  }
  return { moved: await countMoved(db, splitId), isDone: left === 0 }
}

async function countMoved(db: Kysely<Database>, splitId: string): Promise<number> {
  const { rows } = await sql<{ moved: string }>`
    SELECT coalesce(sum(moved), 0) AS moved FROM conversation_splits WHERE contact_split_id = ${splitId}`.execute(
    db,
  )
  return Number(rows[0]?.moved ?? 0)
}

type Move = {
  source_id: string
  target_id: string
  last_message_id: string
  scanned_id: string
  merged_at: Date
  contact_id: string
}

type MessageRow = {
  id: string
  /** The merge has recorded that it is of the separated conversation. */
  is_recorded: boolean
  provider: ProviderName
  source: string
  wa_message_id: string | null
  payload: string | null
  raw: Buffer | null
}

/**
 * True when there is nothing left. The conversations are looked up again in each step: either may have been merged since, and
 * the cursor is an id, which stays when a message moves.
 */
async function moveStep(
  trx: Transaction<Database>,
  id: string,
  limit: number,
  reader: PayloadReader,
): Promise<boolean> {
  await lockMergesShared(trx)
  const { rows } = await sql<Move>`
    SELECT v.source_id, v.target_id, v.last_message_id, v.scanned_id, s.merged_at, s.contact_id
    FROM conversation_splits v JOIN contact_splits s ON s.id = v.contact_split_id
    WHERE v.id = ${id} AND v.done_at IS NULL FOR UPDATE OF v`.execute(trx)
  const [move] = rows
  if (move === undefined) return true
  const batch = await readMessages(trx, move, limit)
  const userIds = batch.some(({ payload, raw }) => payload ?? raw)
    ? await readUserIds(trx, move)
    : new Set<string>()
  const ids = batch
    .filter((row) => row.is_recorded || userIds.has(userIdOf(row, reader) ?? ''))
    .map((row) => row.id)
  const moved = await moveMessages(trx, move, ids)
  const isDone = batch.length < limit
  await sql`
    UPDATE conversation_splits SET scanned_id = ${batch.at(-1)?.id ?? move.last_message_id}, moved = moved + ${moved},
      done_at = CASE WHEN ${isDone} THEN now() END WHERE id = ${id}`.execute(trx)
  return isDone
}

/** The payload is read of messages that came after the merge alone. */
async function readMessages(trx: Transaction<Database>, move: Move, limit: number): Promise<MessageRow[]> {
  const isLater = sql`m.original_conversation_id IS NULL AND m.created_at >= ${move.merged_at}`
  const { rows: sources } = await sql<{ id: string }>`
    SELECT id FROM conversations WHERE id = ${move.source_id}
    UNION SELECT merged_into FROM conversations WHERE id = ${move.source_id} AND merged_into <> ${move.target_id}`.execute(
    trx,
  )
  // Both columns of the index in the ORDER BY: else the planner may walk through the messages of all conversations.
  const { rows } = await sql<MessageRow>`
    SELECT m.id, m.provider, m.source, m.wa_message_id,
      coalesce(m.original_conversation_id IN (
        SELECT id FROM conversations WHERE id = ${move.target_id} OR merged_into = ${move.target_id}
      ), false) AS is_recorded,
      CASE WHEN ${isLater} THEN m.payload::text END AS payload, CASE WHEN ${isLater} THEN m.raw END AS raw
    FROM unnest(${sources.map(({ id }) => id)}::bigint[]) AS s (id)
    CROSS JOIN LATERAL (
      SELECT * FROM chat_messages p
      WHERE p.conversation_id = s.id AND p.id > ${move.scanned_id} AND p.id <= ${move.last_message_id}
      ORDER BY p.conversation_id, p.id LIMIT ${limit}
    ) m
    ORDER BY m.id LIMIT ${limit}`.execute(trx)
  return rows
}

async function readUserIds(trx: Transaction<Database>, { contact_id }: Move): Promise<Set<string>> {
  const { rows } = await sql<{ value: string }>`
    SELECT value FROM contact_identifiers WHERE contact_id = ${contact_id} AND kind IN ('user_id', 'parent_user_id')`.execute(
    trx,
  )
  return new Set(rows.map(({ value }) => value))
}

const KIND_OF_SOURCE: Readonly<Record<string, WebhookEvent['kind']>> = {
  webhook: 'message',
  echo: 'echo',
  history: 'history',
}

/** The user id of the person in a stored webhook; undefined where it names none. */
function userIdOf(
  { provider, source, wa_message_id, payload, raw }: MessageRow,
  reader: PayloadReader,
): string | undefined {
  const kind = KIND_OF_SOURCE[source]
  const text = raw?.toString() ?? payload
  if (kind === undefined || text === null || wa_message_id === null) return undefined
  const event: WebhookEvent = {
    v: EVENT_VERSION,
    kind,
    provider,
    received_at: 0,
    wa_message_id,
    payload: text,
  }
  const [job] = reader.reparse(event)
  const fact = job && reader.normalize(job.event)
  const id = fact?.kind === 'message' ? (fact.contact.user_id ?? fact.contact.parent_user_id) : undefined
  return id === undefined ? undefined : indexableText(id)
}

/** Conversations are locked before messages, and messages in the order of `wa_message_id`, as every writer does. */
async function moveMessages(trx: Transaction<Database>, move: Move, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0
  await sql`
    SELECT id FROM conversations WHERE id IN (${move.source_id}, ${move.target_id}) ORDER BY id FOR NO KEY UPDATE`.execute(
    trx,
  )
  await sql`
    SELECT FROM chat_messages WHERE id = ANY (${ids}::bigint[]) ORDER BY wa_message_id, id FOR NO KEY UPDATE`.execute(
    trx,
  )
  const { rows } = await sql<{ moved: string }>`
    WITH target AS (
      SELECT coalesce(merged_into, id) AS id FROM conversations WHERE id = ${move.target_id}
    ), moved AS (
      UPDATE chat_messages m SET conversation_id = t.id,
        original_conversation_id = nullif(m.original_conversation_id, t.id)
      FROM target t WHERE m.id = ANY (${ids}::bigint[]) AND m.conversation_id <> t.id
      RETURNING m.id, m.conversation_id, least(m.sent_at, m.received_at) AS happened_at
    ), announced AS (${announce('message.updated', 'moved')})
    SELECT count(*) AS moved FROM moved`.execute(trx)
  await sql`
    UPDATE conversations SET last_message_at = greatest(last_message_at, (
      SELECT max(least(sent_at, received_at)) FROM chat_messages WHERE id = ANY (${ids}::bigint[])
    )) WHERE id = ${move.target_id}`.execute(trx)
  return Number(rows[0]?.moved ?? 0)
}
