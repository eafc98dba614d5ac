/** The conversations that notifications point at, with their sender. */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { Database } from '../schema.ts'
import { isOpenFor } from './circuit-breaker.ts'

export type NotifiedConversation = {
  conversation_id: string
  provider: ProviderName
  business_number: string
  /** The circuit breaker of its sender is open: nothing can be claimed. */
  is_paused: boolean
}

/** SQL. `messageId`: the message that waits; NULL for a read receipt. */
function isPaused(messageId: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql<boolean>`EXISTS (
    SELECT FROM send_pauses p WHERE p.provider = c.provider AND p.business_number IN ('', c.business_number)
      AND ${isOpenFor(messageId)}
  )`
}

/** By message id, without ids that do not exist. */
export async function findConversationsOfMessages(
  db: Kysely<Database>,
  messageIds: readonly string[],
): Promise<Map<string, NotifiedConversation>> {
  const { rows } = await sql<NotifiedConversation & { message_id: string }>`
    SELECT m.id AS message_id, c.id AS conversation_id, c.provider, c.business_number, ${isPaused(sql`m.id`)} AS is_paused
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id = ANY(${messageIds}::bigint[])`.execute(db)
  return new Map(rows.map(({ message_id, ...conversation }) => [message_id, conversation]))
}

/** By conversation id, without ids that do not exist. */
export async function findConversations(
  db: Kysely<Database>,
  conversationIds: readonly string[],
): Promise<Map<string, NotifiedConversation>> {
  const { rows } = await sql<NotifiedConversation>`
    SELECT c.id AS conversation_id, c.provider, c.business_number, ${isPaused(sql`NULL::bigint`)} AS is_paused
    FROM conversations c WHERE c.id = ANY(${conversationIds}::bigint[])`.execute(db)
  return new Map(rows.map((conversation) => [conversation.conversation_id, conversation]))
}
