/**
 * The message that an outbound one answers or reacts to, where it had no id of the provider when the answer was created: it
 * was still to be sent, or its outcome was unknown.
 *
 * Its id may come at any moment, with a status. Until then the answer waits, and lets the later messages of its conversation
 * pass, because an unknown outcome may stay so for ever.
 */
import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { SendError } from '../../core/outbound.ts'
import { LINKED_MESSAGE } from '../../core/send-policy.ts'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import { waitEnd } from './back-off.ts'

/** `none`: it failed, or is gone. `pending`: it has no id yet, and the answer is young enough to wait. */
export type LinkedMessage = { kind: 'identified'; wa_message_id: string } | { kind: 'pending' | 'none' }

/** `messageId`: of the linked message; `answerId`: of the one that waits for it. */
export async function findLinkedMessage(
  trx: Transaction<Database>,
  messageId: string,
  answerId: string,
): Promise<LinkedMessage> {
  const { rows } = await sql<{ wa_message_id: string | null; is_pending: boolean }>`
    SELECT nullif(linked.wa_message_id, '') AS wa_message_id,
      linked.status IN ('queued', 'sending', 'unknown')
        AND answer.created_at > clock_timestamp() - ${LINKED_MESSAGE.maxWaitMs} * interval '1 millisecond' AS is_pending
    FROM chat_messages linked, chat_messages answer
    WHERE linked.id = ${messageId} AND answer.id = ${answerId}`.execute(trx)
  const [row] = rows
  if (row === undefined) return { kind: 'none' }
  if (row.wa_message_id !== null) return { kind: 'identified', wa_message_id: row.wa_message_id }
  return { kind: row.is_pending ? 'pending' : 'none' }
}

/** `chat_messages.error` while a message waits. */
export const AWAITS_REPLY_TARGET: SendError = {
  code: 'awaits_reply_target',
  message: 'waits for the message that this one answers: the provider may not have it yet',
}
export const AWAITS_REACTION_TARGET: SendError = {
  code: 'awaits_reaction_target',
  message: 'waits for the message that this one reacts to: the provider may not have it yet',
}

const CODES = [AWAITS_REPLY_TARGET, AWAITS_REACTION_TARGET].map(({ code }) => code)

/** SQL: the row waits for a linked message, and is not to be tried now. */
export function awaitsLinkedMessage(row = 'chat_messages'): RawBuilder<boolean> {
  const name = sql.id(row)
  return sql<boolean>`(${name}.not_before > clock_timestamp()
    AND coalesce(${name}.error #>> '{0,code}' = ANY(${CODES}::text[]), false)) IS TRUE`
}

/**
 * Lets the message wait, longer each time. Announced once. False: another transaction has the row, which is then not waited
 * for (see markSending in claim.ts), or it is no longer queued.
 */
export async function awaitLinkedMessage(
  trx: Transaction<Database>,
  messageId: string,
  error: SendError,
): Promise<boolean> {
  const until = waitEnd(LINKED_MESSAGE.firstDelayMs, LINKED_MESSAGE.backOff, sql`m.send_backoffs`)
  const errors = JSON.stringify([error])
  const { rows } = await sql`
    WITH before AS MATERIALIZED (
      SELECT id, error FROM chat_messages
      WHERE id = ${messageId} AND status = 'queued' AND wa_message_id IS NULL FOR NO KEY UPDATE SKIP LOCKED
    ), updated AS (
      UPDATE chat_messages m SET error = ${errors}::jsonb, updated_at = now(), not_before = ${until},
        send_backoffs = m.send_backoffs + 1
      FROM before WHERE m.id = before.id
      RETURNING m.id, m.conversation_id, (before.error #> '{0,code}') IS DISTINCT FROM (m.error #> '{0,code}') AS is_news
    ), news AS (
      SELECT id, conversation_id FROM updated WHERE is_news
    ), announced AS (${announce('message.status', 'news')})
    SELECT id FROM updated`.execute(trx)
  return rows.length > 0
}
