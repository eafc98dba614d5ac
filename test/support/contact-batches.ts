/** Batches of refs and identity changes, as the batch writer hands them to the contacts. */
import type { ContactRef, IdentityChange } from '../../src/core/fact.ts'
import { resolveConversations } from '../../src/db/contacts/conversations.ts'
import { resolveContacts } from '../../src/db/contacts/resolve-contacts.ts'
import type { TestDatabase } from './postgres.ts'

const MINUTE = 60_000
const START = Date.parse('2020-01-01T00:00:00Z')

/** That many minutes after an arbitrary beginning, long ago: what is not over yet counts as being now. */
export function at(minutes: number): Date {
  return new Date(START + minutes * MINUTE)
}

/** The contact ids of the refs, resolved in a transaction of their own. */
export function resolve(
  { db }: TestDatabase,
  refs: readonly ContactRef[],
  seenAt = at(0),
  changes: readonly IdentityChange[] = [],
): Promise<string[]> {
  const seen = refs.map((ref) => ({ ref, seen_at: seenAt }))
  return db.transaction().execute((trx) => resolveContacts(trx, seen, changes))
}

/** The conversation ids of the refs with one business number, resolved in a transaction of their own. */
export function converse(
  { db }: TestDatabase,
  refs: readonly ContactRef[],
  { seenAt = at(0), business_number = '100200300' } = {},
): Promise<string[]> {
  return db.transaction().execute(async (trx) => {
    const seen = refs.map((ref) => ({ ref, seen_at: seenAt }))
    const contactIds = await resolveContacts(trx, seen)
    return resolveConversations(
      trx,
      contactIds.map((contact_id) => ({ provider: 'meta', business_number, contact_id })),
    )
  })
}
