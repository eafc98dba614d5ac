/** Contacts as the outside sees them. */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../schema.ts'

/** A person or a group; what is not known is null. At least one of phone, user_id and group_id, as a rule. */
export type ContactView = {
  id: string
  name: string | null
  username: string | null
  /** As the provider wrote it: digits with country code. */
  phone: string | null
  user_id: string | null
  group_id: string | null
}

/** By id. A contact that was merged is not found under its old id: ask for what it became. */
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

/** @throws Error for a contact that was not read; contacts are never deleted. */
export function getContact(contacts: ReadonlyMap<string, ContactView>, id: string): ContactView {
  const contact = contacts.get(id)
  if (contact === undefined) throw new Error(`contact ${id} does not exist`)
  return contact
}

/** The one used last, of those that the contact still has. */
function presentIdentifier(kind: 'user_id' | 'group') {
  return sql`
    SELECT i.value FROM contact_identifiers i
    WHERE i.contact_id = c.id AND i.kind = ${sql.lit(kind)} AND i.retired_at = 'infinity'
    ORDER BY i.last_used_at DESC, i.value LIMIT 1`
}
