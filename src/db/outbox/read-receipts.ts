/**
 * Read receipts: what the provider shows a contact when a person here has read their message. A second receipt does no harm, so
 * failures are retried.
 *
 * One row for each conversation, the next receipt to be sent. With a person that is the newest message read, because it covers
 * all earlier ones. In a group each message needs a receipt of its own (Meta, "Mark messages as read", 2026-10-15): the row goes
 * from message to message, up to the conversation's mark. Reactions, edits, revocations and notices have none.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import { EFFECT_TYPES } from '../../core/fact.ts'
import type { ReadReceipt, SendError } from '../../core/outbound.ts'
import { SWEEP } from '../../core/send-policy.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'

/** Meta takes a receipt within 30 days of the message. */
const MAX_AGE_DAYS = 30

export type ReceiptRequest = {
  conversationId: string
  /** Up to which message the conversation was read before, and is read now. */
  fromMessageId: string
  upToMessageId: string
  /** Providers that have read receipts. */
  receiptProviders: readonly ProviderName[]
}

/**
 * Queues the receipt of the newest inbound message that was read, in a group of the oldest one that was not read before.
 * Returns whether one waits now: then notify the workers of the conversation. A message that has its receipt, or is older than
 * one that has, needs none.
 */
export async function requestReadReceipt(db: Kysely<Database>, request: ReceiptRequest): Promise<boolean> {
  const { conversationId, upToMessageId, receiptProviders } = request
  const isGroup = await isGroupConversation(db, conversationId)
  // A worker that is about to settle the row looks for the next message afterwards, and sees the mark of this transaction.
  if (isGroup)
    await sql`SELECT 1 FROM read_receipts WHERE conversation_id = ${conversationId} FOR UPDATE`.execute(db)
  const fromMessageId = isGroup ? request.fromMessageId : '0'
  const { rows } = await sql`
    INSERT INTO read_receipts (conversation_id, message_id, wa_message_id)
    SELECT c.id, l.id, l.wa_message_id
    FROM conversations c LEFT JOIN read_receipts r ON r.conversation_id = c.id
    CROSS JOIN LATERAL (${nextReceipt({
      conversationId,
      after: sql`greatest(r.message_id, ${fromMessageId}::bigint)`,
      upTo: sql`${upToMessageId}::bigint`,
      isGroup,
    })}) l
    WHERE c.id = ${conversationId} AND c.provider = ANY(${receiptProviders}::text[])
      ${isGroup ? sql`AND (r.conversation_id IS NULL OR r.settled_at IS NOT NULL)` : sql``}
    ON CONFLICT ON CONSTRAINT read_receipts_pkey DO UPDATE SET message_id = excluded.message_id,
      wa_message_id = excluded.wa_message_id, attempts = 0, not_before = now(), requested_at = now(),
      settled_at = NULL, error = NULL
    WHERE read_receipts.message_id < excluded.message_id
    RETURNING 1`.execute(db)
  return rows.length > 0
}

/**
 * SQL: `id` and `wa_message_id` of the message to send the next receipt for, among those with ids from `after` (exclusive) up to
 * `upTo`: the newest one, or in a group the oldest.
 */
function nextReceipt({
  conversationId,
  after,
  upTo,
  isGroup,
}: {
  conversationId: string
  after: RawBuilder<unknown>
  upTo: RawBuilder<unknown>
  isGroup: boolean
}) {
  const order = sql.raw(isGroup ? 'ASC' : 'DESC')
  return sql`
    SELECT e.id, e.wa_message_id FROM ${partsOf(sql`${conversationId}::bigint`)} part CROSS JOIN LATERAL (
      SELECT m.id, m.wa_message_id FROM chat_messages m
      WHERE m.conversation_id = part.id AND m.id > ${after} AND m.id <= ${upTo} AND m.direction = 'inbound'
        AND m.source = 'webhook' AND m.wa_message_id <> '' AND m.message_type <> ALL(${WITHOUT_RECEIPT}::text[])
        ${isGroup ? sql`AND m.received_at > now() - ${MAX_AGE_DAYS} * interval '1 day'` : sql``}
      ORDER BY m.id ${order} LIMIT 1
    ) e ORDER BY e.id ${order} LIMIT 1`
}

const WITHOUT_RECEIPT: readonly string[] = [...EFFECT_TYPES, 'system']

async function isGroupConversation(db: Kysely<Database>, conversationId: string): Promise<boolean> {
  const { rows } = await sql`
    SELECT 1 FROM conversations c JOIN contact_identifiers i ON i.contact_id = c.contact_id AND i.kind = 'group'
    WHERE c.id = ${conversationId}::bigint`.execute(db)
  return rows.length > 0
}

export type DueReceipt = ReadReceipt & { conversation_id: string; message_id: string; attempts: number }

/** The conversation's receipt, when it is due. */
export async function findDueReceipt(
  db: Kysely<Database>,
  conversationId: string,
): Promise<DueReceipt | undefined> {
  const { rows } = await sql<Omit<DueReceipt, 'provider'> & { provider: ProviderName }>`
    SELECT r.conversation_id, r.message_id, r.wa_message_id, r.attempts, c.provider, c.business_number
    FROM read_receipts r JOIN conversations c ON c.id = r.conversation_id
    WHERE r.conversation_id = ${conversationId} AND r.settled_at IS NULL AND r.not_before <= clock_timestamp()`.execute(
    db,
  )
  return rows[0]
}

/** Conversations whose receipt is due, oldest first. */
export async function findDueReceipts(db: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ conversation_id: string }>`
    SELECT conversation_id FROM read_receipts
    WHERE settled_at IS NULL AND not_before <= clock_timestamp() - ${SWEEP.minAgeMs} * interval '1 millisecond'
    ORDER BY not_before LIMIT ${SWEEP.maxReceipts}`.execute(db)
  return rows.map((row) => row.conversation_id)
}

/**
 * In a group: goes on to the next message that was read, whose receipt is due at once. Returns whether there is one. Changes
 * nothing when the row was changed meanwhile.
 */
export async function advanceGroupReceipt(
  db: Kysely<Database>,
  { conversation_id, message_id }: DueReceipt,
): Promise<boolean> {
  if (!(await isGroupConversation(db, conversation_id))) return false
  const { rows } = await sql`
    UPDATE read_receipts r SET message_id = l.id, wa_message_id = l.wa_message_id, attempts = 0,
      not_before = clock_timestamp(), settled_at = NULL, error = NULL
    FROM conversations c CROSS JOIN LATERAL (${nextReceipt({
      conversationId: conversation_id,
      after: sql`${message_id}::bigint`,
      upTo: sql`c.last_read_message_id`,
      isGroup: true,
    })}) l
    WHERE c.id = r.conversation_id AND r.conversation_id = ${conversation_id} AND r.message_id = ${message_id}
    RETURNING 1`.execute(db)
  return rows.length > 0
}

/** Ends the receipt: sent, or given up with `error`. Changes nothing when a newer message has replaced it meanwhile. */
export async function recordReceiptResult(
  db: Kysely<Database>,
  { conversation_id, message_id }: DueReceipt,
  error?: SendError,
): Promise<void> {
  await sql`
    UPDATE read_receipts SET settled_at = now(), error = ${error === undefined ? null : JSON.stringify([error])}::jsonb
    WHERE conversation_id = ${conversation_id} AND message_id = ${message_id}`.execute(db)
}

export async function postponeReceipt(
  db: Kysely<Database>,
  { conversation_id, message_id }: DueReceipt,
  delayMs: number,
): Promise<void> {
  await sql`
    UPDATE read_receipts SET attempts = attempts + 1,
      not_before = clock_timestamp() + ${delayMs} * interval '1 millisecond'
    WHERE conversation_id = ${conversation_id} AND message_id = ${message_id}`.execute(db)
}
