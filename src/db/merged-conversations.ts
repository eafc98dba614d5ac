/**
 * Merged conversations whose messages have not all moved yet.
 *
 * `conversations.merged_into` names the conversation that the messages of a merged one belong to, from the commit of the merge
 * on. The messages follow in bounded steps (contacts/move-messages.ts); until `moving_since` is null again, some of them
 * still have the id of the merged conversation. Who looks for the messages of a conversation looks in all of its parts.
 */
import { type RawBuilder, sql } from 'kysely'

/**
 * SQL: a subquery with the column `id`: the conversation itself, and the merged ones from which messages are still on their
 * way to it. `id` is the conversation, which must not be merged itself.
 */
export function partsOf(id: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`(SELECT ${id} AS id UNION ALL
    SELECT part.id FROM conversations part WHERE part.merged_into = ${id} AND part.moving_since IS NOT NULL)`
}
