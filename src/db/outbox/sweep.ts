/**
 * The queries of the send sweep: sends whose worker died, sends that waited for too long, sends without a notification.
 */
import { type Kysely, sql } from 'kysely'
import type { SendError } from '../../core/outbound.ts'
import { STATUS_LIMITS, SWEEP } from '../../core/send-policy.ts'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import { isOpenFor } from './circuit-breaker.ts'
import { awaitsLinkedMessage } from './linked-message.ts'

const LOST: SendError = {
  code: 'lost',
  message: 'the worker that sent it ended before it could say what became of it',
}
const EXPIRED: SendError = { code: 'expired', message: 'not sent within 24 hours' }

/** A message that has been `sending` for too long may have been sent, and becomes `unknown`. Returns how many. */
export async function markLostSendsUnknown(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql`
    WITH lost AS (
      SELECT id FROM chat_messages
      WHERE status = 'sending' AND source = 'api' AND wa_message_id IS NULL
        AND sending_since < clock_timestamp() - ${STATUS_LIMITS.maxSendingMs} * interval '1 millisecond'
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    ), updated AS (
      UPDATE chat_messages m SET status = 'unknown', error = ${JSON.stringify([LOST])}::jsonb, updated_at = now()
      FROM lost WHERE m.id = lost.id RETURNING m.id, m.conversation_id
    ), announced AS (${announce('message.status', 'updated')})
    SELECT id FROM updated`.execute(db)
  return rows.length
}

/** A message that could not be sent for a day fails. The last refusal stays as the second error. Returns how many. */
export async function failExpiredSends(db: Kysely<Database>): Promise<number> {
  const { rows } = await sql`
    WITH expired AS (
      SELECT id FROM chat_messages
      WHERE status = 'queued' AND source = 'api' AND wa_message_id IS NULL
        AND created_at < clock_timestamp() - ${STATUS_LIMITS.maxQueuedMs} * interval '1 millisecond'
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    ), updated AS (
      UPDATE chat_messages m SET status = 'failed', updated_at = now(),
        error = ${JSON.stringify([EXPIRED])}::jsonb || coalesce(m.error, '[]'::jsonb)
      FROM expired WHERE m.id = expired.id RETURNING m.id, m.conversation_id
    ), announced AS (${announce('message.status', 'updated')})
    SELECT id FROM updated`.execute(db)
  return rows.length
}

/**
 * The oldest message of every conversation that can be claimed now, where its own notification is lost or used up. Texts and
 * files each have a ration for each number: files wait long for a slot. Of a sender whose breaker is half-open it is one
 * message, the trial: one that was not refused in the sender's name, nor, if possible, one of the same type.
 */
export async function findDueSends(db: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    WITH heads AS (
      SELECT DISTINCT ON (conversation_id) conversation_id, id, status, not_before, created_at FROM chat_messages
      WHERE source = 'api' AND wa_message_id IS NULL AND status IN ('queued', 'sending') AND NOT ${awaitsLinkedMessage()}
      ORDER BY conversation_id, status = 'sending' DESC, id
    ), due AS (
      SELECT h.id, m.message_type, coalesce(m.request #> '{content,media}' ? 'upload_id', false) AS has_file, c.provider,
        coalesce(p.business_number, c.business_number) AS sender, p.is_open IS NOT NULL AS is_half_open
      FROM heads h JOIN chat_messages m ON m.id = h.id JOIN conversations c ON c.id = h.conversation_id
      CROSS JOIN LATERAL (
        SELECT min(business_number) AS business_number, bool_or(${isOpenFor(sql`h.id`)}) AS is_open
        FROM send_pauses p WHERE p.provider = c.provider AND p.business_number IN ('', c.business_number)
      ) p
      WHERE h.status = 'queued' AND p.is_open IS NOT TRUE
        AND coalesce(h.not_before, h.created_at + ${SWEEP.minAgeMs} * interval '1 millisecond') <= clock_timestamp()
    ), placed AS (
      SELECT id, is_half_open, row_number() OVER (
        PARTITION BY provider, sender, has_file AND NOT is_half_open
        ORDER BY CASE WHEN is_half_open THEN ${timesRefused()} END, id
      ) AS place FROM due
    )
    SELECT id FROM placed
    WHERE place <= CASE WHEN is_half_open THEN 1 ELSE ${SWEEP.maxSendsANumber}::integer END ORDER BY id`.execute(
    db,
  )
  return rows.map((row) => row.id)
}

/** SQL: 0 for a message of `due` that is a good trial; 1 when another of its type was refused, 2 when it was itself. */
function timesRefused() {
  return sql`(
    SELECT coalesce(max(CASE WHEN r.message_id = due.id THEN 2 ELSE 1 END), 0)
    FROM send_refusals r JOIN chat_messages m ON m.id = r.message_id
    WHERE r.provider = due.provider AND r.business_number IN ('', due.sender) AND m.message_type = due.message_type
  )`
}
