/** The address of an outbound message: the requested one, else the contact's current one. */
import { sql, type Transaction } from 'kysely'
import type { Recipient } from '../../core/outbound.ts'
import { phoneDigits, phoneKey } from '../../core/phone.ts'
import type { Database } from '../schema.ts'

type ContactRow = { phone: string | null; kind: string | null; value: string | null }

/** Returns undefined when the contact has no address. */
export async function findRecipient(
  trx: Transaction<Database>,
  contactId: string,
  asked: Recipient | undefined,
): Promise<Recipient | undefined> {
  const phone = asked?.phone === undefined ? undefined : phoneDigits(asked.phone)
  if (phone !== undefined) return { phone }
  if (asked?.user_id) return { user_id: asked.user_id }
  if (asked?.group_id) return { group_id: asked.group_id }
  const { rows } = await sql<ContactRow>`
    SELECT c.phone, i.kind, i.value FROM contacts c
    LEFT JOIN contact_identifiers i ON i.contact_id = c.id AND i.retired_at = 'infinity'
    WHERE c.id = ${contactId} ORDER BY i.last_used_at DESC`.execute(trx)
  return reachable(rows)
}

/**
 * A group, else a phone number, else a user id. The phone number in the provider's spelling, while it is still assigned to
 * the contact: the identifier is a key that joins spellings of one number, and may be one that cannot be dialled.
 */
function reachable(rows: readonly ContactRow[]): Recipient | undefined {
  const first = (kind: string) =>
    rows.find((row) => row.kind === kind && isWhole(row.value))?.value ?? undefined
  const group_id = first('group')
  if (group_id !== undefined) return { group_id }
  const shown = rows[0]?.phone == null ? undefined : phoneDigits(rows[0].phone)
  const isTheirs = rows.some(
    (row) => row.kind === 'phone' && shown !== undefined && row.value === phoneKey(shown),
  )
  const phone = isTheirs ? shown : first('phone')
  if (phone !== undefined) return { phone }
  const user_id = first('user_id') ?? first('parent_user_id')
  return user_id === undefined ? undefined : { user_id }
}

/** An identifier that is too long for a key is stored as a digest. */
function isWhole(value: string | null): boolean {
  return value !== null && !value.startsWith('sha256:')
}
