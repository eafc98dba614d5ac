/** What the API reads by: the order of a conversation, and how far the feed of changes goes back. */
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  // Ids follow the order of arrival, and a phone app's history arrives after what is newer. The same expression as
  // timeOf() in src/db/views/message-effects.ts.
  `CREATE INDEX chat_messages_conversation_time_idx
    ON chat_messages (conversation_id, coalesce(sent_at, received_at, created_at) DESC, id DESC)`,
  // One row: the last change that was removed. A reader whose cursor is older has missed something.
  `CREATE TABLE changes_horizon (
    is_only boolean NOT NULL DEFAULT true CONSTRAINT changes_horizon_pkey PRIMARY KEY
      CONSTRAINT changes_horizon_only_check CHECK (is_only),
    xid xid8 NOT NULL DEFAULT '0',
    id bigint NOT NULL DEFAULT 0
  )`,
  `INSERT INTO changes_horizon DEFAULT VALUES`,
]
