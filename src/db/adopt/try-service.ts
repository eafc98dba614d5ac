/** The last check of an adoption: writes rows as the service does, in a transaction that is rolled back. */
import type { ProviderName } from '../../core/event.ts'
import type { Query } from '../any-table/query.ts'

const CONFLICT = `ON CONFLICT (wa_message_id) WHERE wa_message_id IS NOT NULL AND wa_message_id <> ''`

/**
 * A new contact writes two messages, the second is delivered again, and a reply is queued without an id and then sent.
 * @throws Error with the reason of the database.
 */
export async function tryService(query: Query, provider: ProviderName): Promise<void> {
  await query('BEGIN')
  try {
    const contact = await idOf(query, `INSERT INTO contacts (name) VALUES ('wa-ingest') RETURNING id`)
    const conversation = await idOf(
      query,
      `INSERT INTO conversations (provider, business_number, contact_id) VALUES ($2, 'wa-ingest trial', $1) RETURNING id`,
      [contact, provider],
    )
    for (const id of ['one', 'two', 'two']) {
      await query(
        `INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type)
         VALUES ($1, 'inbound', $3, 'wa-ingest trial ' || $2, 'webhook', 14, 'sticker') ${CONFLICT} DO NOTHING`,
        [conversation, id, provider],
      )
    }
    const reply = await idOf(
      query,
      `INSERT INTO chat_messages (conversation_id, direction, provider, client_message_id, callback_id, source, detail, message_type, status)
       VALUES ($1, 'outbound', $2, 'wa-ingest trial', gen_random_uuid(), 'api', 15, 'text', 'queued') RETURNING id`,
      [conversation, provider],
    )
    await query(
      `UPDATE chat_messages SET wa_message_id = 'wa-ingest trial reply', status = 'sent' WHERE id = $1`,
      [reply],
    )
    const { rows } = await query<{ count: number }>(
      `SELECT count(*)::int AS count FROM chat_messages WHERE conversation_id = $1 AND wa_message_id LIKE 'wa-ingest trial %'`,
      [conversation],
    )
    if (rows[0]?.count !== 3)
      throw new Error(
        `of 3 messages ${rows[0]?.count} are in the table; a trigger or rule of it changes what is written`,
      )
  } catch (err) {
    const reason = err instanceof Error ? err.message : String(err)
    throw new Error(
      `the adopted tables refuse what the service writes: ${reason}; remove what stands against it, then run: npx wa-ingest migrate`,
      { cause: err },
    )
  } finally {
    await query('ROLLBACK')
  }
}

async function idOf(query: Query, text: string, values: unknown[] = []): Promise<string> {
  const { rows } = await query<{ id: string }>(text, values)
  const id = rows[0]?.id
  if (id === undefined)
    throw new Error('a row that was written was not returned; a trigger or rule swallows it')
  return id
}
