/**
 * Read receipts: what the provider shows a contact when a person here has read their message. One row for each
 * conversation, because a receipt covers all earlier messages too. A second receipt does no harm, so failures are retried.
 */
import { type Kysely, sql } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { ReadReceipt, SendError } from '../../core/outbound.ts'
import { SWEEP } from '../../core/send-policy.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'

/**
 * Queues the receipt of the newest inbound message up to `upToMessageId`. Returns whether one waits now: then notify the
 * workers of the conversation. A message that has its receipt, or is older than one that has, needs none.
 */
export async function requestReadReceipt(
  db: Kysely<Database>,
  conversationId: string,
  upToMessageId: string,
  receiptProviders: readonly ProviderName[],
): Promise<boolean> {
  const { rows } = await sql`
    INSERT INTO read_receipts (conversation_id, message_id, wa_message_id)
    SELECT c.id, l.id, l.wa_message_id
    FROM conversations c, ${partsOf(sql`${conversationId}::bigint`)} part CROSS JOIN LATERAL (
      SELECT m.id, m.wa_message_id FROM chat_messages m
      WHERE m.conversation_id = part.id AND m.id <= ${upToMessageId} AND m.direction = 'inbound'
        AND m.source = 'webhook' AND m.wa_message_id <> ''
      ORDER BY m.id DESC LIMIT 1
    ) l
    WHERE c.id = ${conversationId} AND c.provider = ANY(${receiptProviders}::text[])
    ORDER BY l.id DESC LIMIT 1
    ON CONFLICT ON CONSTRAINT read_receipts_pkey DO UPDATE SET message_id = excluded.message_id,
      wa_message_id = excluded.wa_message_id, attempts = 0, not_before = now(), requested_at = now(),
      settled_at = NULL, error = NULL
    WHERE read_receipts.message_id < excluded.message_id
    RETURNING 1`.execute(db)
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
