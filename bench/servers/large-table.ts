/** Fills tables with rows that look like those of years: spread over many conversations, ids in no order. */
import type { Client } from 'pg'
import { detailOf } from '../../src/core/fact.ts'
import type { Tables } from './templates.ts'

const ROWS_PER_CONVERSATION = 100
const ROWS_PER_STATEMENT = 250_000

const CONVERSATIONS: Record<Tables, string> = {
  app: `
    INSERT INTO conversations (business_number, customer, name, last_message_at)
    SELECT '555000000000200', '1666' || n, 'Customer ' || n, now() - n * interval '1 second'
    FROM generate_series(1, $1::int) n`,
  'wa-ingest': `
    WITH person AS (
      INSERT INTO contacts (name, phone) SELECT 'Customer ' || n, '1666' || n FROM generate_series(1, $1::int) n
      RETURNING id, phone
    ), known AS (
      INSERT INTO contact_identifiers (kind, value, contact_id, first_used_at, last_used_at)
      SELECT 'phone', phone, id, now(), now() FROM person
    )
    INSERT INTO conversations (provider, business_number, contact_id, last_message_at)
    SELECT 'meta', '555000000000200', id, now() - id * interval '1 second' FROM person`,
}

/** $1 and $2: numbers of the first and last row; $3: how many conversations. Ids of conversations count from 1. */
const MESSAGES: Record<Tables, string> = {
  app: `
    INSERT INTO chat_messages (conversation_id, direction, wa_message_id, message_type, content, payload, sent_at)
    SELECT 1 + n % $3, 'inbound', row.id, 'text', row.text, row.payload, now() - interval '1 year'
    FROM generate_series($1::int, $2::int) n, LATERAL (${rowOf('n')}) row`,
  'wa-ingest': `
    INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, sender_contact_id,
      message_type, content, payload, sent_at, received_at)
    SELECT 1 + n % $3, 'inbound', 'meta', row.id, 'webhook', ${detailOf('webhook', false)}, 1 + n % $3, 'text', row.text, row.payload,
      now() - interval '1 year', now() - interval '1 year'
    FROM generate_series($1::int, $2::int) n, LATERAL (${rowOf('n')}) row`,
}

function rowOf(n: string): string {
  const id = `'wamid.HBgL' || encode(sha256(${n}::text::bytea), 'base64')`
  const text = `'Message ' || ${n} || ' of a customer who has written before, and will again'`
  return `SELECT ${id} AS id, ${text} AS text,
    jsonb_build_object('id', ${id}, 'type', 'text', 'timestamp', '1750000000', 'text', jsonb_build_object('body', ${text})) AS payload`
}

/** The indexes are taken away meanwhile and built at the end: minutes instead of an hour. */
export async function fillLargeTable(client: Client, tables: Tables, rows: number): Promise<void> {
  const conversations = Math.max(1, Math.ceil(rows / ROWS_PER_CONVERSATION))
  await client.query(`SET maintenance_work_mem = '512MB'`)
  await client.query(CONVERSATIONS[tables], [conversations])
  const { rows: indexes } = await client.query<{ name: string; definition: string }>(
    `SELECT c.relname AS name, pg_get_indexdef(c.oid) AS definition
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = 'chat_messages'::regclass AND NOT i.indisprimary`,
  )
  for (const { name } of indexes) await client.query(`DROP INDEX ${name}`)
  for (let first = 1; first <= rows; first += ROWS_PER_STATEMENT) {
    await client.query(MESSAGES[tables], [
      first,
      Math.min(rows, first + ROWS_PER_STATEMENT - 1),
      conversations,
    ])
  }
  for (const { definition } of indexes) await client.query(definition)
  await client.query('VACUUM ANALYZE')
}
