/**
 * Status rows, which are only ever added, and the status of a message, which is derived from them.
 *
 * The derived status depends on the set of rows alone, not on the order in which they arrive. Two workers may write a status
 * and its message at the same time, neither seeing the other. So `applyStatuses` runs for every wa_message_id of a batch
 * after its commit: the worker that commits second sees both.
 */
import { type Kysely, sql, Transaction } from 'kysely'
import type { FinalOutcome } from '../../core/event.ts'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import { jsonbColumn, payloadColumns, textColumn } from './payload-columns.ts'
import { statusOrder } from './status-order.ts'
import type { StatusItem } from './store-item.ts'

/** Stores each (wa_message_id, status, participant) once. Outcomes are in the order of `items`. */
export async function writeStatuses(
  trx: Transaction<Database>,
  items: readonly StatusItem[],
): Promise<FinalOutcome[]> {
  const first = new Map<string, StatusItem>()
  for (const item of items) if (!first.has(statusKey(item))) first.set(statusKey(item), item)
  const keys = [...first.keys()].sort()
  const rows = keys.map((key) => statusRow(first.get(key) as StatusItem))
  const { rows: inserted } = await sql<{ wa_message_id: string; status: string; participant: string }>`
    INSERT INTO message_statuses (wa_message_id, status, participant, provider, business_number, callback_id,
      occurred_at, errors, pricing, conversation, payload, raw, received_at)
    SELECT r.wa_message_id, r.status, r.participant, r.provider, r.business_number, r.callback_id,
      r.occurred_at, r.errors::jsonb, r.pricing::jsonb, r.conversation::jsonb, r.payload::jsonb,
      decode(r.raw, 'base64'), r.received_at
    FROM json_to_recordset(${JSON.stringify(rows)}::json) AS r(wa_message_id text, status text, participant text,
      provider text, business_number text, callback_id uuid, occurred_at timestamptz, errors text, pricing text,
      conversation text, payload text, raw text, received_at timestamptz)
    ON CONFLICT ON CONSTRAINT message_statuses_unique DO NOTHING
    RETURNING wa_message_id, status, participant`.execute(trx)
  const stored = new Set(inserted.map((row) => keyOf(row.wa_message_id, row.status, row.participant)))
  return items.map((item) => {
    const key = statusKey(item)
    return first.get(key) === item && stored.has(key) ? 'stored' : 'duplicate'
  })
}

/**
 * Sets the status of these messages to the one that their status rows amount to. Safe to repeat, and to run in several
 * processes at once.
 */
export async function applyStatuses(
  db: Kysely<Database> | Transaction<Database>,
  waMessageIds: readonly string[],
): Promise<void> {
  const ids = [...new Set(waMessageIds)]
  if (ids.length === 0) return
  const { rows } = await sql<{ wa_message_id: string }>`
    WITH known AS (
      SELECT wa_message_id, participant, status, errors FROM message_statuses
      WHERE wa_message_id = ANY(${ids}::text[]) AND wa_status_rank(status) IS NOT NULL
    ), grouped AS (
      SELECT DISTINCT wa_message_id FROM known WHERE participant <> ''
    ), best AS (
      SELECT DISTINCT ON (wa_message_id) wa_message_id, status, errors FROM known
      WHERE wa_message_id NOT IN (SELECT wa_message_id FROM grouped)
      ORDER BY wa_message_id, wa_status_rank(status) DESC, status DESC
    ), ahead AS (
      SELECT m.id, best.status, best.errors FROM chat_messages m
      JOIN best ON best.wa_message_id = m.wa_message_id
      WHERE m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
        AND ${sql.raw(`${statusOrder('m.status')} < ${statusOrder('best.status')}`)}
      ORDER BY m.wa_message_id FOR NO KEY UPDATE OF m
    ), ${setStatus('ahead')}
    SELECT wa_message_id FROM grouped`.execute(db)
  if (rows.length > 0) {
    await applyGroupStatuses(
      db,
      rows.map((row) => row.wa_message_id),
    )
  }
}

/**
 * A group message has the lowest rank of its participants, and the first status of another participant can lower it. So the
 * messages are locked by one statement and the statuses read by the next, which sees everything that was committed before
 * the lock was granted: the last writer has seen all statuses.
 */
async function applyGroupStatuses(
  db: Kysely<Database> | Transaction<Database>,
  ids: readonly string[],
): Promise<void> {
  await inTransaction(db, async (trx) => {
    await sql`
      SELECT id FROM chat_messages
      WHERE wa_message_id = ANY(${ids}::text[]) AND wa_message_id IS NOT NULL AND wa_message_id <> ''
      ORDER BY wa_message_id FOR NO KEY UPDATE`.execute(trx)
    await sql`
      WITH known AS (
        SELECT wa_message_id, participant, status, errors, wa_status_rank(status) AS rank FROM message_statuses
        WHERE wa_message_id = ANY(${ids}::text[]) AND wa_status_rank(status) IS NOT NULL
      ), best AS (
        SELECT DISTINCT ON (wa_message_id, participant) * FROM known
        ORDER BY wa_message_id, participant, rank DESC, status DESC
      ), candidate AS (
        (SELECT DISTINCT ON (wa_message_id) * FROM best WHERE participant <> '' ORDER BY wa_message_id, rank, status)
        UNION ALL
        SELECT * FROM best WHERE participant = ''
      ), final AS (
        SELECT DISTINCT ON (wa_message_id) * FROM candidate ORDER BY wa_message_id, rank DESC, status DESC
      ), changed AS (
        SELECT m.id, final.status, final.errors FROM chat_messages m
        JOIN final ON final.wa_message_id = m.wa_message_id
        WHERE m.wa_message_id IS NOT NULL AND m.wa_message_id <> '' AND m.status IS DISTINCT FROM final.status
      ), ${setStatus('changed')}
      SELECT 1`.execute(trx)
  })
}

function inTransaction(
  db: Kysely<Database> | Transaction<Database>,
  run: (trx: Transaction<Database>) => Promise<void>,
): Promise<void> {
  return db instanceof Transaction ? run(db) : db.transaction().execute(run)
}

/** SQL: CTEs that set and announce status and error of the messages in `source (id, status, errors)`. */
export function setStatus(source: 'ahead' | 'changed') {
  return sql`updated AS (
      UPDATE chat_messages m SET status = s.status, error = s.errors, updated_at = now()
      FROM ${sql.raw(source)} s WHERE m.id = s.id
      RETURNING m.id, m.conversation_id
    ), announced AS (${announce('message.status', 'updated')})`
}

function statusRow(item: StatusItem) {
  const { fact, event } = item
  return {
    wa_message_id: fact.wa_message_id,
    status: textColumn(fact.status),
    participant: textColumn(fact.participant),
    provider: fact.provider,
    business_number: textColumn(fact.business_number),
    callback_id: fact.callback_id ?? null,
    occurred_at: fact.occurred_at ?? null,
    errors: jsonbColumn(item, fact.errors),
    pricing: jsonbColumn(item, fact.pricing),
    conversation: jsonbColumn(item, fact.conversation),
    ...payloadColumns(item),
    received_at: new Date(event.received_at),
  }
}

function statusKey({ fact }: StatusItem): string {
  return keyOf(fact.wa_message_id, textColumn(fact.status) ?? '', textColumn(fact.participant) ?? '')
}

/** As JSON: any separator could also occur in a part. */
function keyOf(...parts: string[]): string {
  return JSON.stringify(parts)
}
