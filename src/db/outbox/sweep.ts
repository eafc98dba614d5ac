/**
 * The queries of the send sweep: sends whose worker died, sends that waited for too long, sends without a notification.
 */
import { type Kysely, sql } from 'kysely'
import type { SendError } from '../../core/outbound.ts'
import { STATUS_LIMITS, SWEEP } from '../../core/send-policy.ts'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'

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

/** The oldest message of every conversation that can be claimed now, where its own notification is lost or used up. */
export async function findDueSends(db: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    WITH heads AS (
      SELECT DISTINCT ON (conversation_id) conversation_id, id, status, not_before, created_at FROM chat_messages
      WHERE source = 'api' AND wa_message_id IS NULL AND status IN ('queued', 'sending')
      ORDER BY conversation_id, status = 'sending' DESC, id
    ), due AS (
      SELECT h.id, row_number() OVER (PARTITION BY c.provider, c.business_number ORDER BY h.id) AS place
      FROM heads h JOIN conversations c ON c.id = h.conversation_id
      WHERE h.status = 'queued'
        AND coalesce(h.not_before, h.created_at + ${SWEEP.minAgeMs} * interval '1 millisecond') <= clock_timestamp()
        AND NOT EXISTS (
          SELECT FROM send_pauses p WHERE p.provider = c.provider AND p.business_number IN ('', c.business_number)
            AND p.paused_until > clock_timestamp()
        )
    )
    SELECT id FROM due WHERE place <= ${SWEEP.maxSendsANumber} ORDER BY id`.execute(db)
  return rows.map((row) => row.id)
}
