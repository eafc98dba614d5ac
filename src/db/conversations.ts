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
  const wanted = keys.map((key) => ({ ...key, business_number: keyText(key.business_number) }))
  let found = await findConversations(trx, wanted)
  const missing = wanted.filter((_, index) => !found[index])
  if (missing.length > 0) {
    await insertConversations(trx, missing)
    found = await findConversations(trx, wanted)
  }
  return found.map((id, index) => {
    if (id === null) throw new Error(`contact ${wanted[index]?.contact_id} does not exist: resolve it first`)
    return id
  })
}

async function findConversations(
  trx: Transaction<Database>,
  wanted: readonly ConversationKey[],
): Promise<(string | null)[]> {
  const keys = JSON.stringify(wanted.map((key, ord) => ({ ord, ...key })))
  const { rows } = await sql<{ id: string | null }>`
    SELECT v.id
    FROM json_to_recordset(${keys}::json) AS k (ord integer, provider text, business_number text, contact_id bigint)
    LEFT JOIN contacts c ON c.id = k.contact_id
    LEFT JOIN conversations v ON v.provider = k.provider AND v.business_number = k.business_number
      AND v.contact_id = coalesce(c.merged_into, c.id) AND v.merged_into IS NULL
    ORDER BY k.ord`.execute(trx)
  return rows.map(({ id }) => id)
}

/** In key order, so that two writers with the same missing conversations queue up. A waiting insert skips the row. */
async function insertConversations(
  trx: Transaction<Database>,
  missing: readonly ConversationKey[],
): Promise<void> {
  await sql`
    INSERT INTO conversations (provider, business_number, contact_id)
    SELECT k.provider COLLATE "C", k.business_number COLLATE "C", coalesce(c.merged_into, c.id)
    FROM json_to_recordset(${JSON.stringify(missing)}::json) AS k (provider text, business_number text, contact_id bigint)
    JOIN contacts c ON c.id = k.contact_id
    ORDER BY 1, 2, 3
    ON CONFLICT (provider, business_number, contact_id) WHERE merged_into IS NULL DO NOTHING`.execute(trx)
}
