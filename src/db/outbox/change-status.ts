/** Changes the status of a claimed message, if its row is still as it was claimed. */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import type { SendError } from '../../core/outbound.ts'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import type { Claim } from './claim.ts'

/** The message's status afterwards. `superseded`: a status or the sweep had changed the row already. */
export type SendOutcome = 'accepted' | 'queued' | 'failed' | 'unknown' | 'superseded'

export type StatusChange = {
  from: readonly string[]
  to: 'queued' | 'failed' | 'unknown'
  error: SendError
  /** SQL: when this message may be claimed again; absent where it does not wait, or only its breaker does. */
  notBefore?: RawBuilder<Date>
  /** The wait is one more in a row of this message's own, which grow. */
  isBackOff?: boolean
}

/**
 * Returns undefined when the row is no longer as it was claimed. Nothing is announced of a try that has changed neither the
 * status nor the code of the error.
 */
export async function changeStatus(
  db: Kysely<Database> | Transaction<Database>,
  { message, attempt }: Claim,
  { from, to, error, notBefore = sql<Date>`NULL`, isBackOff = false }: StatusChange,
): Promise<SendOutcome | undefined> {
  const { rows } = await sql`
    WITH before AS (
      SELECT id, status, error FROM chat_messages
      WHERE id = ${message.message_id} AND send_attempts = ${attempt} AND status = ANY(${from}::text[])
        AND wa_message_id IS NULL
      FOR NO KEY UPDATE
    ), updated AS (
      UPDATE chat_messages m SET status = ${to}, error = ${JSON.stringify([error])}::jsonb, updated_at = now(),
        send_backoffs = CASE WHEN ${isBackOff} THEN m.send_backoffs + 1 ELSE 0 END,
        not_before = ${notBefore}
      FROM before WHERE m.id = before.id
      RETURNING m.id, m.conversation_id, before.status <> m.status
        OR (before.error -> 0 -> 'code') IS DISTINCT FROM (m.error -> 0 -> 'code') AS is_news
    ), news AS (
      SELECT id, conversation_id FROM updated WHERE is_news
    ), announced AS (${announce('message.status', 'news')})
    SELECT id FROM updated`.execute(db)
  return rows.length > 0 ? to : undefined
}
