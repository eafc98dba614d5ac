/** Whether an event is in its table already, told without reading its payload. */
import { type Kysely, sql } from 'kysely'
import type { InboundJob } from '../../core/event.ts'
import type { MessageSource } from '../../core/fact.ts'
import { indexableText } from '../contacts/identifiers.ts'
import type { Database } from '../schema.ts'

/** Of the rows that an event of this kind makes. */
const SOURCES = { message: ['webhook', 'standby'], echo: ['echo'] } satisfies Record<string, MessageSource[]>

/**
 * True only when this very event is stored: as a message that arrived at the same moment for the same business number, as a
 * status of the word in its job id, or as an event under its job id. False when that cannot be told: history, where two
 * events share an id, and statuses with a hashed job id.
 */
export async function isEventStored(db: Kysely<Database>, { job_id, event }: InboundJob): Promise<boolean> {
  const { kind, wa_message_id = '', business_number = '', received_at } = event
  if (kind === 'message' || kind === 'echo') {
    const { rows } = await sql`
      SELECT FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
      WHERE m.wa_message_id = ${wa_message_id} AND m.wa_message_id <> '' AND m.source = ANY(${SOURCES[kind]})
        AND m.received_at = ${new Date(received_at)} AND c.business_number = ${indexableText(business_number)}`.execute(
      db,
    )
    return rows.length > 0
  }
  if (kind === 'status') {
    const { rows } = await sql`
      SELECT FROM message_statuses WHERE wa_message_id = ${wa_message_id}
        AND ${job_id} = 'status.' || status || '.' || wa_message_id || CASE participant WHEN '' THEN '' ELSE '.' END
          || participant`.execute(db)
    return rows.length > 0
  }
  if (kind !== 'other') return false
  const { rows } = await sql`
    SELECT FROM webhook_events WHERE event_key = ${job_id} AND reason IS NULL`.execute(db)
  return rows.length > 0
}
