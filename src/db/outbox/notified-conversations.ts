/** The conversations that notifications point at, with their sender. */
import { type Kysely, sql } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { Database } from '../schema.ts'

export type NotifiedConversation = {
  conversation_id: string
  provider: ProviderName
  business_number: string
  /** The circuit breaker of its sender is open: nothing can be claimed. */
  is_paused: boolean
}

const IS_PAUSED = sql<boolean>`EXISTS (
  SELECT FROM send_pauses p WHERE p.provider = c.provider AND p.business_number IN ('', c.business_number)
    AND p.paused_until > clock_timestamp()
)`

/** By message id, without ids that do not exist. */
export async function findConversationsOfMessages(
  db: Kysely<Database>,
  messageIds: readonly string[],
): Promise<Map<string, NotifiedConversation>> {
  const { rows } = await sql<NotifiedConversation & { message_id: string }>`
    SELECT m.id AS message_id, c.id AS conversation_id, c.provider, c.business_number, ${IS_PAUSED} AS is_paused
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
    SELECT c.id AS conversation_id, c.provider, c.business_number, ${IS_PAUSED} AS is_paused
    FROM conversations c WHERE c.id = ANY(${conversationIds}::bigint[])`.execute(db)
  return new Map(rows.map((conversation) => [conversation.conversation_id, conversation]))
}
