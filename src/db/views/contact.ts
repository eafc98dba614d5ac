/** Contacts as the API and the dashboard show them. */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../schema.ts'

/** A person or a group. Unknown fields are null; usually at least one of phone, user_id and group_id is known. */
export type ContactView = {
  id: string
  name: string | null
  username: string | null
  /** As the provider wrote it: digits with country code. */
  phone: string | null
  user_id: string | null
  group_id: string | null
}

/** Contacts by id. Expects ids of contacts that were not merged: a merged one is returned as it was stored last. */
export async function readContactViews(
  db: Kysely<Database>,
  ids: readonly string[],
): Promise<Map<string, ContactView>> {
  if (ids.length === 0) return new Map()
  const { rows } = await sql<ContactView>`
    SELECT c.id, c.name, c.username, c.phone, u.value AS user_id, g.value AS group_id
    FROM contacts c
    LEFT JOIN LATERAL (${presentIdentifier('user_id')}) u ON true
    LEFT JOIN LATERAL (${presentIdentifier('group')}) g ON true
    WHERE c.id = ANY (${[...new Set(ids)]}::bigint[])`.execute(db)
  return new Map(rows.map((row) => [row.id, row]))
}

/** @throws Error for a contact that is not in the map; contacts are never deleted */
export function getContact(contacts: ReadonlyMap<string, ContactView>, id: string): ContactView {
  const contact = contacts.get(id)
  if (contact === undefined) throw new Error(`contact ${id} does not exist`)
  return contact
}

/** SQL: the identifier of this kind that the contact used last, among those that it still has. */
function presentIdentifier(kind: 'user_id' | 'group') {
  return sql`
    SELECT i.value FROM contact_identifiers i
    WHERE i.contact_id = c.id AND i.kind = ${sql.lit(kind)} AND i.retired_at = 'infinity'
    ORDER BY i.last_used_at DESC, i.value LIMIT 1`
}
