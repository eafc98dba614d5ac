/** Messages that were sent through the service, so that statuses find what they are about. */
import type { Client } from 'pg'
import { detailOf } from '../../src/core/fact.ts'
import type { Tables } from './templates.ts'

const IDS_PER_STATEMENT = 5_000

const CONVERSATION: Record<Tables, string> = {
  app: `
    INSERT INTO conversations (business_number, customer) VALUES ('555000000000200', '15550000001') RETURNING id`,
  'wa-ingest': `
    WITH person AS (INSERT INTO contacts (phone) VALUES ('15550000001') RETURNING id)
    INSERT INTO conversations (provider, business_number, contact_id) SELECT 'meta', '555000000000200', id FROM person
    RETURNING id`,
}

const MESSAGES: Record<Tables, string> = {
  app: `
    INSERT INTO chat_messages (conversation_id, direction, wa_message_id, message_type, content, sent_at)
    SELECT $1, 'outbound', id, 'text', 'Your order is on its way', now() FROM unnest($2::text[]) id`,
  'wa-ingest': `
    INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type, content,
      status, sent_at)
    SELECT $1, 'outbound', 'meta', id, 'api', ${detailOf('api', false)}, 'text', 'Your order is on its way', 'accepted', now()
    FROM unnest($2::text[]) id`,
}

export async function fillSentMessages(
  client: Client,
  tables: Tables,
  ids: readonly string[],
): Promise<void> {
  const { rows } = await client.query<{ id: string }>(CONVERSATION[tables])
  for (let first = 0; first < ids.length; first += IDS_PER_STATEMENT)
    await client.query(MESSAGES[tables], [rows[0]?.id, ids.slice(first, first + IDS_PER_STATEMENT)])
  await client.query('ANALYZE chat_messages')
}
