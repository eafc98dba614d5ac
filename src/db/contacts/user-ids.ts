/** The user ids of contacts, and the accounts that belong to one portfolio: what decides who is two people (portfolios.ts). */
import { sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'
import { isUserId } from './identifiers.ts'
import { type IdentityMap, pairKey, recordUserId, survivorOf } from './identity-map.ts'
import type { ContactPlan } from './plan.ts'
import { UNKNOWN_ACCOUNT } from './portfolios.ts'

type LoadedUserIds = {
  contacts: UserIdRow[] | null
  portfolios: Record<string, string> | null
  splits: [string, string][] | null
}

type UserIdRow = { contact_id: string; accounts: string[]; first_value: string }

/**
 * Completes the map with all user ids of its contacts, and with the portfolios: what decides whether two contacts are two
 * people. Needed only where a batch brings identifiers together that are not together yet.
 */
export async function loadUserIds(trx: Transaction<Database>, identities: IdentityMap): Promise<void> {
  const ids = identities.contacts.flatMap(({ id }) => id ?? [])
  const { rows } = await sql<LoadedUserIds>`
    SELECT
      (SELECT json_agg(u) FROM (
        SELECT contact_id::text, array_agg(coalesce(account, ${UNKNOWN_ACCOUNT})) AS accounts,
          min(value COLLATE "C") AS first_value
        FROM contact_identifiers
        WHERE contact_id = ANY (${ids}::bigint[]) AND kind IN ('user_id', 'parent_user_id') GROUP BY contact_id
      ) u) AS contacts,
      (SELECT json_object_agg(account, portfolio) FROM portfolio_accounts) AS portfolios,
      (SELECT json_agg(ARRAY[coalesce(a.merged_into, a.id)::text, coalesce(b.merged_into, b.id)::text])
        FROM contact_splits s JOIN contacts a ON a.id = s.contact_id JOIN contacts b ON b.id = s.other_id) AS splits`.execute(
    trx,
  )
  const userIds = new Map((rows[0]?.contacts ?? []).map((row) => [row.contact_id, row]))
  for (const contact of identities.contacts) {
    const row = userIds.get(contact.id ?? '')
    contact.accounts = [...(row?.accounts ?? [])]
    contact.storedUserIds = contact.accounts.length
    recordUserId(contact, row?.first_value)
  }
  identities.splits = new Set((rows[0]?.splits ?? []).map(([a, b]) => pairKey(a, b)))
  identities.portfolios.known = new Map(Object.entries(rows[0]?.portfolios ?? {}))
}

/**
 * Locks contacts that got another user id. False when one of them has more user ids than the plan knew of: another transaction
 * gave it one at the same time, and the two may be of two people. Call it after `insertContacts`.
 */
export async function lockIdentified(
  trx: Transaction<Database>,
  { identified, profiles, newAssignments }: ContactPlan,
): Promise<boolean> {
  if (identified.length === 0) return true
  const locked = [...identified, ...profiles].flatMap(({ id }) => id ?? [])
  await sql`SELECT id FROM contacts WHERE id = ANY (${locked}::bigint[]) ORDER BY id FOR NO KEY UPDATE`.execute(
    trx,
  )
  const { rows } = await sql<{ contact_id: string; stored: number }>`
    SELECT contact_id, count(*)::integer AS stored FROM contact_identifiers
    WHERE contact_id = ANY (${identified.flatMap(({ id }) => id ?? [])}::bigint[])
      AND kind IN ('user_id', 'parent_user_id') GROUP BY contact_id`.execute(trx)
  const stored = new Map(rows.map((row) => [row.contact_id, row.stored]))
  return identified.every((contact) => {
    const added = newAssignments.filter(
      ({ kind, value, contact: owner }) => isUserId({ kind, value }) && survivorOf(owner) === contact,
    )
    return stored.get(contact.id ?? '') === contact.storedUserIds + added.length
  })
}

/** Stores that accounts belong to one portfolio. Needs the exclusive merge lock. */
export async function updatePortfolios(
  trx: Transaction<Database>,
  portfolios: ContactPlan['portfolios'],
): Promise<void> {
  if (portfolios.length === 0) return
  await sql`
    INSERT INTO portfolio_accounts (account, portfolio)
    SELECT * FROM unnest(${portfolios.map(([account]) => account)}::text[], ${portfolios.map(([, portfolio]) => portfolio)}::text[])
    ON CONFLICT (account) DO UPDATE SET portfolio = excluded.portfolio`.execute(trx)
}
