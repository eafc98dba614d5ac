/** Conversations: one for each (provider, business number, contact or group). */
import { sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'
import { indexableText } from './identifiers.ts'

export type ConversationKey = { provider: string; business_number: string; contact_id: string }

/**
 * The conversation ids of the keys, in the same order; missing conversations are created. A merged contact stands for its
 * survivor. Call it once in a transaction, after `resolveContacts`: its merge lock keeps the conversations from being merged
 * until the transaction ends.
 * @throws Error for a contact that does not exist
 */
export async function resolveConversations(
  trx: Transaction<Database>,
  keys: readonly ConversationKey[],
): Promise<string[]> {
  if (keys.length === 0) return []
  const wanted = new Map(keys.map((key) => [textOf(key), storedForm(key)]))
  let found = await findConversations(trx, wanted)
  const missing = [...wanted].flatMap(([text, key]) => (found.has(text) ? [] : key))
  if (missing.length > 0) {
    await insertConversations(trx, missing)
    found = await findConversations(trx, wanted)
  }
  return keys.map((key) => {
    const id = found.get(textOf(key))
    if (id === undefined) throw new Error(`contact ${key.contact_id} does not exist: resolve it first`)
    return id
  })
}

function textOf({ provider, business_number, contact_id }: ConversationKey): string {
  return JSON.stringify([provider, business_number, contact_id])
}

function storedForm({ provider, business_number, contact_id }: ConversationKey): ConversationKey {
  return { provider, business_number: indexableText(business_number), contact_id }
}

/**
 * Ids by the text of the key. The LIMIT keeps the planner from turning the look-ups by unique key into a join: on a table
 * without statistics it would join by business number first, which is the same for every row (measured: 219 ms instead of 1).
 */
async function findConversations(
  trx: Transaction<Database>,
  wanted: ReadonlyMap<string, ConversationKey>,
): Promise<Map<string, string>> {
  const texts = [...wanted.keys()]
  const keys = [...wanted.values()].map((key, ord) => ({ ord, ...key }))
  const { rows } = await sql<{ ord: number; id: string }>`
    SELECT k.ord, v.id
    FROM json_to_recordset(${JSON.stringify(keys)}::json)
      AS k (ord integer, provider text, business_number text, contact_id bigint)
    CROSS JOIN LATERAL (
      SELECT id FROM conversations
      WHERE provider = k.provider AND business_number = k.business_number AND merged_into IS NULL
        AND contact_id = coalesce((SELECT merged_into FROM contacts WHERE id = k.contact_id), k.contact_id)
      LIMIT 1
    ) v`.execute(trx)
  return new Map(rows.map(({ ord, id }) => [texts[ord] ?? '', id]))
}

/** In key order, so that two writers of the same conversations wait in line. The one that waited skips the row. */
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
