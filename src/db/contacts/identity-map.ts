/**
 * Identity map: the contacts of one batch in memory, each once.
 *
 * It is loaded from the database (rows.ts); refs (record-ref.ts) and identity changes (identity-change.ts) are applied to it;
 * plan.ts compares it with the loaded rows to find what has to be written. Nothing here touches the database.
 */
import { type Identifier, identifierKey } from './identifiers.ts'
import { type Portfolios, UNKNOWN_ACCOUNT } from './portfolios.ts'
import { mergeProfile, type TrackedProfile } from './profile.ts'

/**
 * A contact as it is to be stored. Times are milliseconds since 1970. What it says about user ids is complete only if
 * `loadUserIds` has run (rows.ts).
 */
export type Contact = TrackedProfile & {
  /** Undefined: not stored yet. */
  id: string | undefined
  /** The account in which it was first seen, of each user id of the contact. */
  accounts: string[]
  /** The first user id of the contact in the order of the texts; undefined for a contact without user ids. */
  firstUserId: string | undefined
  /** How many user ids of the contact are stored. */
  storedUserIds: number
  /** The contact that this one was merged into. */
  merged_into?: Contact
}

type Usage = {
  retired_at: number
  first_used_at: number
  last_used_at: number
  /** Of a phone: first and last time at which it was seen with a user id of the contact, or given to it by a change. */
  first_linked_at: number | undefined
  last_linked_at: number | undefined
  /** Of a user id: the account in which it was first seen; UNKNOWN_ACCOUNT for none. */
  account: string
}

/** An identifier that belongs to a contact until `retired_at`, which is Infinity while it still does. */
export type Assignment = Identifier &
  Usage & {
    contact: Contact
    /** The stored row. Undefined: not stored yet. */
    stored?: Usage
  }

export type IdentityMap = {
  contacts: Contact[]
  /** By `identifierKey`; the assignments of one identifier are sorted by `retired_at`. */
  assignments: Map<string, Assignment[]>
  portfolios: Portfolios
  /** Pairs of contact ids (`pairKey`) that an operator has split: two people, whatever else is known. */
  splits: Set<string>
}

/** Key of a pair of contacts in `splits`, in either order. */
export function pairKey(a: string | undefined, b: string | undefined): string {
  return [a, b].sort().join(' ')
}

export function assignmentsOf(identities: IdentityMap, identifier: Identifier): readonly Assignment[] {
  return identities.assignments.get(identifierKey(identifier)) ?? []
}

/** The assignment at that moment. Only a phone number can go to another contact; a user id stays with its contact. */
export function findAssignment(
  identities: IdentityMap,
  identifier: Identifier,
  at: number,
): Assignment | undefined {
  const assignments = assignmentsOf(identities, identifier)
  if (identifier.kind !== 'phone') return assignments.at(-1)
  return assignments.find(({ retired_at }) => retired_at >= at)
}

export function addAssignment(
  identities: IdentityMap,
  { kind, value }: Identifier,
  contact: Contact,
  usedAt: number,
  { retiredAt = Infinity, account = UNKNOWN_ACCOUNT } = {},
): Assignment {
  const added: Assignment = {
    kind,
    value,
    contact,
    retired_at: retiredAt,
    first_used_at: usedAt,
    last_used_at: usedAt,
    first_linked_at: undefined,
    last_linked_at: undefined,
    account,
  }
  identities.assignments.set(identifierKey(added), [...assignmentsOf(identities, added), added])
  retire(identities, added, retiredAt)
  return added
}

export function recordUse(assignment: Assignment, usedAt: number): void {
  assignment.first_used_at = Math.min(assignment.first_used_at, usedAt)
  assignment.last_used_at = Math.max(assignment.last_used_at, usedAt)
}

/** Notes that a phone was the contact's at that moment, as a user id or a change says. */
export function recordLink(assignment: Assignment, linkedAt: number): void {
  assignment.first_linked_at = Math.min(assignment.first_linked_at ?? linkedAt, linkedAt)
  assignment.last_linked_at = Math.max(assignment.last_linked_at ?? linkedAt, linkedAt)
}

/** From when on the contact had the phone, as far as is known: messages without a user id may be another person's. */
export function heldFrom({ first_linked_at, first_used_at }: Assignment): number {
  return first_linked_at ?? first_used_at
}

export function heldUntil({ last_linked_at, last_used_at }: Assignment): number {
  return last_linked_at ?? last_used_at
}

/** Ends an assignment at `retiredAt`, or in the first millisecond after it in which no other one of the identifier ends. */
export function retire(identities: IdentityMap, assignment: Assignment, retiredAt: number): void {
  const assignments = identities.assignments.get(identifierKey(assignment)) ?? []
  let moment = retiredAt
  while (assignments.some((other) => other !== assignment && other.retired_at === moment)) moment += 1
  assignment.retired_at = moment
  assignments.sort(byRetirement)
}

/** The contact itself, or the one that it was merged into. */
export function survivorOf(contact: Contact): Contact {
  let current = contact
  while (current.merged_into) current = current.merged_into
  return current
}

/** Merges the contacts into the one stored first, and returns it. Creates a contact when the list is empty. */
export function mergeContacts(identities: IdentityMap, contacts: readonly Contact[]): Contact {
  const distinct = [...new Set(contacts.map(survivorOf))]
  const [survivor, ...others] = distinct.sort(byAge)
  if (!survivor) return addContact(identities)
  for (const other of others) {
    other.merged_into = survivor
    survivor.accounts.push(...other.accounts)
    recordUserId(survivor, other.firstUserId)
    mergeProfile(survivor, other)
  }
  return survivor
}

/** Keeps the first one in the order of the texts. */
export function recordUserId(contact: Contact, userId: string | undefined): void {
  if (userId !== undefined && userId < (contact.firstUserId ?? '\uffff')) contact.firstUserId = userId
}

function addContact(identities: IdentityMap): Contact {
  const contact: Contact = {
    id: undefined,
    name: null,
    username: null,
    phone: null,
    profile_at: undefined,
    dirtyFields: new Set(),
    accounts: [],
    firstUserId: undefined,
    storedUserIds: 0,
  }
  identities.contacts.push(contact)
  return contact
}

/** By id; contacts that are not stored yet come last. */
function byAge(a: Contact, b: Contact): number {
  if (a.id === undefined || b.id === undefined) return Number(a.id === undefined) - Number(b.id === undefined)
  return BigInt(a.id) < BigInt(b.id) ? -1 : 1
}

function byRetirement(a: Assignment, b: Assignment): number {
  return a.retired_at < b.retired_at ? -1 : 1
}
