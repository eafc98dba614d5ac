/**
 * A sighting of a contact.
 *
 * User ids that are seen together belong to one person, for good. A phone number joins contacts only where that does not put
 * two people into one: see portfolios.ts for who is two people, and phone-owners.ts for whose the number is then.
 */
import type { ContactRef } from '../../core/fact.ts'
import { type Identifier, identifiersOf, isPhone, isUserId } from './identifiers.ts'
import {
  type Assignment,
  addAssignment,
  type Contact,
  findAssignment,
  heldFrom,
  type IdentityMap,
  mergeContacts,
  pairKey,
  recordLink,
  recordUse,
  recordUserId,
  survivorOf,
} from './identity-map.ts'
import { recordOwner } from './phone-owners.ts'
import { areTwoPeople, recordAccounts, UNKNOWN_ACCOUNT } from './portfolios.ts'
import { recordProfile } from './profile.ts'

/** `seenAt`: the provider's time. `account`: the provider's account whose webhook it came in. */
export type Sighting = { seenAt: number; account: string }

/**
 * The contact that a ref stood for then, created when no identifier of the ref is known. Afterwards every identifier of the
 * ref is assigned to it; contacts that the ref brings together are merged.
 */
export function recordRef(identities: IdentityMap, ref: ContactRef, sighting: Sighting): Contact {
  const identifiers = identifiersOf(ref)
  const userIds = identifiers.filter(isUserId)
  const contact =
    userIds.length === 0
      ? recordAddress(identities, identifiers[0] as Identifier, sighting.seenAt)
      : recordPerson(identities, userIds, identifiers.find(isPhone), sighting)
  if (identifiers[0]?.kind !== 'none') recordProfile(contact, ref, sighting.seenAt)
  return contact
}

/** The only identifier of a ref: a phone, a group, or none. */
function recordAddress(identities: IdentityMap, identifier: Identifier, seenAt: number): Contact {
  const assignment =
    findAssignment(identities, identifier, seenAt) ??
    addAssignment(identities, identifier, mergeContacts(identities, []), seenAt)
  recordUse(assignment, seenAt)
  return survivorOf(assignment.contact)
}

function recordPerson(
  identities: IdentityMap,
  userIds: readonly Identifier[],
  phone: Identifier | undefined,
  { seenAt, account }: Sighting,
): Contact {
  const stored = userIds.flatMap((id) => findAssignment(identities, id, seenAt) ?? [])
  for (const assignment of stored) learnAccount(identities, assignment, account)
  const known = stored.map(({ contact }) => contact)
  const holder = phone && findAssignment(identities, phone, seenAt)
  const person = known.length > 0 ? mergeContacts(identities, known) : undefined
  if (holder !== undefined && survivorOf(holder.contact) === person) linkEarlierVersion(holder)
  const isHolder = holder !== undefined && !isAnotherPerson(identities, holder.contact, person, account)
  const contact = mergeContacts(identities, [
    ...(person ? [person] : []),
    ...(isHolder ? [holder.contact] : []),
  ])
  for (const id of userIds) {
    recordUse(assignUserId(identities, id, contact, { seenAt, account }), seenAt)
  }
  if (phone !== undefined) recordOwner(identities, phone, contact, seenAt)
  return contact
}

/** A row of an earlier version, which says only when the phone was used: from the first use on it was this contact's. */
function linkEarlierVersion(holder: Assignment): void {
  if (holder.first_linked_at === undefined) recordLink(holder, heldFrom(holder))
}

/** `person`: the contact of the user ids; undefined when none of them is known. */
function isAnotherPerson(
  identities: IdentityMap,
  holder: Contact,
  person: Contact | undefined,
  account: string,
): boolean {
  const { id, accounts } = survivorOf(holder)
  if (person === survivorOf(holder)) return false
  if (person?.id !== undefined && identities.splits.has(pairKey(id, person.id))) return true
  return areTwoPeople(identities.portfolios, accounts, [account, ...(person?.accounts ?? [])])
}

/** The assignment of a user id to this contact, added when there is none. */
export function assignUserId(
  identities: IdentityMap,
  id: Identifier,
  contact: Contact,
  { seenAt, account }: Sighting,
): Assignment {
  const assignment = findAssignment(identities, id, seenAt)
  if (assignment !== undefined) {
    learnAccount(identities, assignment, account)
    return assignment
  }
  contact.accounts.push(account)
  recordUserId(contact, id.value)
  return addAssignment(identities, id, contact, seenAt, { account })
}

function learnAccount(identities: IdentityMap, assignment: Assignment, account: string): void {
  if (assignment.kind === 'user_id')
    recordAccounts(identities.portfolios, assignment.value, assignment.account, account)
  if (assignment.account !== UNKNOWN_ACCOUNT || account === UNKNOWN_ACCOUNT) return
  assignment.account = account
  const { accounts } = survivorOf(assignment.contact)
  accounts.splice(accounts.indexOf(UNKNOWN_ACCOUNT), 1, account)
}
