/** Marking a conversation as read. */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import { announce } from '../announce.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'
import { requestReadReceipt } from './read-receipts.ts'

export type ReadOutcome =
  /** `needsReceipt`: a read receipt waits; notify the workers of this conversation. */
  | { kind: 'read'; conversation_id: string; needsReceipt: boolean }
  | { kind: 'conversation_not_found' }
  | { kind: 'message_not_found' }

export type MarkAsReadOptions = {
  conversationId: string
  messageId?: string | undefined
  /** Providers that have read receipts. */
  receiptProviders: readonly ProviderName[]
}

/**
 * Marks the conversation as read up to `messageId`, or up to its newest message. The mark only moves forward, so a repeated
 * or older request changes nothing. Follows `merged_into`.
 */
export async function markAsRead(
  db: Kysely<Database>,
  { conversationId, messageId, receiptProviders }: MarkAsReadOptions,
): Promise<ReadOutcome> {
  return db.transaction().execute(async (trx) => {
    await lockMergesShared(trx)
    const locked = await lockConversation(trx, conversationId)
    if (locked === undefined) return { kind: 'conversation_not_found' }
    const { id, last_read_message_id: fromMessageId } = locked
    const last = await findLast(trx, id, messageId)
    if (last === undefined && messageId !== undefined) return { kind: 'message_not_found' }
    if (last === undefined) return { kind: 'read', conversation_id: id, needsReceipt: false }
    await sql`
      WITH updated AS (
        UPDATE conversations SET last_read_message_id = ${last}::bigint
        WHERE id = ${id}::bigint AND last_read_message_id < ${last}::bigint
        RETURNING id
      )
      ${announce('conversation.read', 'updated')}`.execute(trx)
    const needsReceipt = await requestReadReceipt(trx, {
      conversationId: id,
      fromMessageId,
      upToMessageId: last,
      receiptProviders,
    })
    return { kind: 'read', conversation_id: id, needsReceipt }
  })
}

type LockedConversation = { id: string; last_read_message_id: string }

async function lockConversation(
  trx: Transaction<Database>,
  id: string,
): Promise<LockedConversation | undefined> {
  const { rows } = await sql<LockedConversation>`
    SELECT v.id, v.last_read_message_id FROM conversations asked JOIN conversations v ON v.id = coalesce(asked.merged_into, asked.id)
    WHERE asked.id = ${id}::bigint FOR NO KEY UPDATE OF v`.execute(trx)
  return rows[0]
}

async function findLast(
  trx: Transaction<Database>,
  conversationId: string,
  messageId: string | undefined,
): Promise<string | undefined> {
  const asked = messageId === undefined ? sql`true` : sql`id = ${messageId}::bigint`
  const { rows } = await sql<{ id: string }>`
    SELECT l.id FROM ${partsOf(sql`${conversationId}::bigint`)} part CROSS JOIN LATERAL (
      SELECT id FROM chat_messages WHERE conversation_id = part.id AND ${asked} ORDER BY id DESC LIMIT 1
    ) l ORDER BY l.id DESC LIMIT 1`.execute(trx)
  return rows[0]?.id
}
