/**
 * The only writer of `changes`, the table behind the feed (views/change-feed.ts).
 *
 * A change is announced in the statement that makes it, so that no reader sees one without the other and a statement that
 * changed nothing announces nothing. test/db/announce.test.ts runs every writer and finds one that forgets.
 */
import { type RawBuilder, sql } from 'kysely'

/** What can happen to a message, and to a conversation. Part of the interface: docs/api.md describes each word. */
export type MessageChange = 'message.created' | 'message.updated' | 'message.status' | 'message.merged'
export type ConversationChange =
  | 'conversation.merged'
  | 'conversation.split'
  | 'conversation.read'
  | 'conversation.control'
export type ChangeKind = MessageChange | ConversationChange

/** The columns of `changes` that the CTE fills besides the kind, and the columns of the CTE that fill them. */
const COLUMNS: Record<ChangeKind, { target: string; source: string }> = {
  'message.created': { target: 'conversation_id, message_id', source: 'conversation_id, id' },
  'message.updated': { target: 'conversation_id, message_id', source: 'conversation_id, id' },
  'message.status': { target: 'conversation_id, message_id', source: 'conversation_id, id' },
  'message.merged': {
    target: 'conversation_id, message_id, merged_into',
    source: 'conversation_id, id, merged_into',
  },
  'conversation.merged': { target: 'conversation_id, merged_into', source: 'id, merged_into' },
  'conversation.split': { target: 'conversation_id', source: 'id' },
  'conversation.read': { target: 'conversation_id', source: 'id' },
  'conversation.control': { target: 'conversation_id', source: 'id' },
}

/**
 * SQL: an INSERT that announces one change for each row of the CTE `source`, in the order of its ids. It is the last
 * statement of a WITH, or a CTE of its own: `announced AS (${announce('message.status', 'updated')})`.
 *
 * `source` returns `id` and `conversation_id` of messages; for 'message.merged' also `merged_into`, the id of the message
 * that stays. For conversations it returns `id`; for 'conversation.merged' also `merged_into`.
 */
export function announce(kind: ChangeKind, source: string): RawBuilder<unknown> {
  const columns = COLUMNS[kind]
  return sql`INSERT INTO changes (kind, ${sql.raw(columns.target)})
      SELECT ${sql.lit(kind)}, ${sql.raw(columns.source)} FROM ${sql.id(source)} ORDER BY id`
}
