/**
 * A message of ours that Meta accepted, in a conversation that another app held, shows that this app has control now: only the
 * app that has it may send messages other than templates (Meta, "Prepare for Conversation Routing", 2026-10-08). No webhook says
 * so. If it is wrong, the next message in standby puts it right.
 */
import { type Kysely, sql } from 'kysely'
import { recordControl } from '../contacts/conversation-control.ts'
import type { Database } from '../schema.ts'

/** Does nothing where no other app had control. Safe to repeat. */
export async function takeControl(
  db: Kysely<Database>,
  { message_id, sent_at }: { message_id: string; sent_at: Date },
): Promise<void> {
  const { rows } = await sql<{ conversation_id: string }>`
    SELECT c.id AS conversation_id
    FROM chat_messages m JOIN conversations part ON part.id = m.conversation_id
    JOIN conversations c ON c.id = coalesce(part.merged_into, part.id)
    WHERE m.id = ${message_id} AND m.message_type <> 'template' AND c.control_holder = 'other'`.execute(db)
  await recordControl(
    db,
    rows.map(({ conversation_id }) => ({ conversation_id, holder: 'self', role: null, at: sent_at })),
  )
}
