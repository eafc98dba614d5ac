/** Conversations: one for each (provider, business number, contact or group). */
import { sql, type Transaction } from 'kysely'
import { keyText } from './contact-identifiers.ts'
import type { Database } from './schema.ts'

export type ConversationKey = { provider: string; business_number: string; contact_id: string }

/**
 * The conversation ids of the keys, in the same order, created where missing. A contact that has been merged counts as
 * what it became. Call it once in a transaction, after `resolveContacts`, whose lock keeps the conversations from being
 * merged until the transaction ends.
 */
export async function resolveConversations(
  trx: Transaction<Database>,
  keys: readonly ConversationKey[],
): Promise<string[]> {
  if (keys.length === 0) return []
  const wanted = JSON.stringify(
    keys.map((key, ord) => ({ ord, ...key, business_number: keyText(key.business_number) })),
  )
  const found = await findConversations(trx, wanted)
  const ids = found.every(({ id }) => id !== null)
    ? found
    : await insertConversations(trx, wanted).then(() => findConversations(trx, wanted))
  return ids.map(({ id }) => {
    if (id === null) throw new Error('a conversation was not stored: its contact does not exist')
    return id
  })
}

async function findConversations(
  trx: Transaction<Database>,
  wanted: string,
): Promise<{ id: string | null }[]> {
  const { rows } = await sql<{ id: string | null }>`
    SELECT v.id
    FROM json_to_recordset(${wanted}::json) AS k (ord integer, provider text, business_number text, contact_id bigint)
    LEFT JOIN contacts c ON c.id = k.contact_id
    LEFT JOIN conversations v ON v.provider = k.provider AND v.business_number = k.business_number
      AND v.contact_id = coalesce(c.merged_into, c.id) AND v.merged_into IS NULL
    ORDER BY k.ord`.execute(trx)
  return rows
}

/** In key order, so that two writers with the same missing conversations queue up. A waiting insert skips the row. */
async function insertConversations(trx: Transaction<Database>, wanted: string): Promise<void> {
  await sql`
    INSERT INTO conversations (provider, business_number, contact_id)
    SELECT k.provider COLLATE "C", k.business_number COLLATE "C", coalesce(c.merged_into, c.id)
    FROM json_to_recordset(${wanted}::json) AS k (ord integer, provider text, business_number text, contact_id bigint)
    JOIN contacts c ON c.id = k.contact_id
    ORDER BY 1, 2, 3
    ON CONFLICT (provider, business_number, contact_id) WHERE merged_into IS NULL DO NOTHING`.execute(trx)
}
