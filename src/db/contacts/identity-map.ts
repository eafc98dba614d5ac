/**
 * Identity map: the contacts of one batch in memory, each once.
 *
 * It is loaded from the database (rows.ts); refs and identity changes are applied to it; plan.ts compares it with the loaded
 * rows to find what has to be written. Nothing here touches the database.
 */
import type { ContactRef } from '../../core/fact.ts'
import { phoneKey } from '../../core/phone.ts'
import { type Identifier, identifierKey, identifiersOf, profileText } from './identifiers.ts'

/** A contact as it is to be stored. Times are milliseconds since 1970. */
export type Contact = {
  /** Undefined: not stored yet. */
  id: string | undefined
  name: string | null
  username: string | null
  phone: string | null
  /** When name, username or phone were last seen: a later sighting replaces them, an earlier one only fills gaps. */
  profile_at: number | undefined
  /** Fields that differ from the stored row. */
  dirtyFields: Set<ProfileField>
  /** The contact that this one was merged into. */
  merged_into?: Contact
}

const PROFILE_FIELDS = ['name', 'username', 'phone'] as const
export type ProfileField = (typeof PROFILE_FIELDS)[number]

/** An identifier that belongs to a contact until `retired_at`, which is Infinity while it still does. */
export type Assignment = Identifier & {
  contact: Contact
  retired_at: number
  first_used_at: number
  last_used_at: number
  /** The stored row. Undefined: not stored yet. */
  stored?: { retired_at: number; first_used_at: number; last_used_at: number }
}

export type IdentityMap = {
  contacts: Contact[]
  /** By `identifierKey`; the assignments of one identifier are sorted by `retired_at`. */
  assignments: Map<string, Assignment[]>
}

/**
 * The contact that a ref stood for at `seenAt`, created when no identifier of the ref is known. Afterwards every identifier
 * of the ref is assigned to it; contacts that the ref brings together are merged.
 */
export function recordRef(identities: IdentityMap, ref: ContactRef, seenAt: number): Contact {
  const identifiers = identifiersOf(ref)
  const contact = mergeContacts(
    identities,
    identifiers.flatMap((identifier) => findAssignment(identities, identifier, seenAt)?.contact ?? []),
  )
  for (const identifier of identifiers) {
    const assignment =
      findAssignment(identities, identifier, seenAt) ?? addAssignment(identities, identifier, contact, seenAt)
    recordUse(assignment, seenAt)
  }
  if (identifiers[0]?.kind !== 'none') recordProfile(contact, ref, seenAt)
  return contact
}

/** The assignment at that moment. Only a phone number can go to another contact; a user id stays with its contact. */
export function findAssignment(
  identities: IdentityMap,
  identifier: Identifier,
  at: number,
): Assignment | undefined {
  const assignments = identities.assignments.get(identifierKey(identifier)) ?? []
  if (identifier.kind !== 'phone') return assignments.at(-1)
  return assignments.find(({ retired_at }) => retired_at >= at)
}

export function addAssignment(
  identities: IdentityMap,
  { kind, value }: Identifier,
  contact: Contact,
  usedAt: number,
  retiredAt = Infinity,
): Assignment {
  const added = { kind, value, contact, retired_at: retiredAt, first_used_at: usedAt, last_used_at: usedAt }
  const key = identifierKey(added)
  identities.assignments.set(key, [...(identities.assignments.get(key) ?? []), added].sort(byRetirement))
  return added
}

export function recordUse(assignment: Assignment, usedAt: number): void {
  assignment.first_used_at = Math.min(assignment.first_used_at, usedAt)
  assignment.last_used_at = Math.max(assignment.last_used_at, usedAt)
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
    mergeProfile(survivor, other)
  }
  return survivor
}

function addContact(identities: IdentityMap): Contact {
  const contact: Contact = {
    id: undefined,
    name: null,
    username: null,
    phone: null,
    profile_at: undefined,
    dirtyFields: new Set(),
  }
  identities.contacts.push(contact)
  return contact
}

/** By id; contacts that are not stored yet come last. */
function byAge(a: Contact, b: Contact): number {
  if (a.id === undefined || b.id === undefined) return Number(a.id === undefined) - Number(b.id === undefined)
  return BigInt(a.id) < BigInt(b.id) ? -1 : 1
}

/** Applies name, username and phone of a ref that was seen at `seenAt`. */
export function recordProfile(contact: Contact, ref: ContactRef, seenAt: number): void {
  mergeProfile(contact, {
    name: profileText(ref.name) ?? null,
    username: profileText(ref.username) ?? null,
    phone: profileText(ref.phone) ?? null,
    profile_at: seenAt,
  })
}

type Profile = Pick<Contact, ProfileField | 'profile_at'>

function mergeProfile(contact: Contact, seen: Profile): void {
  const seenAt = seen.profile_at ?? -Infinity
  const isNewer = seenAt >= (contact.profile_at ?? -Infinity)
  for (const field of PROFILE_FIELDS) {
    const value = seen[field]
    if (value === null || isSameText(field, value, contact[field])) continue
    if (contact[field] !== null && !isNewer) continue
    contact[field] = value
    contact.dirtyFields.add(field)
  }
  if (isNewer && PROFILE_FIELDS.some((field) => seen[field] !== null)) contact.profile_at = seen.profile_at
}

/** Whether name, username and phone of the ref are the contact's already. */
export function hasProfileOf(contact: Contact, ref: ContactRef): boolean {
  if (ref.group_id === undefined && identifiersOf(ref)[0]?.kind === 'none') return true
  return PROFILE_FIELDS.every((field) => {
    const value = profileText(ref[field])
    return value === undefined || isSameText(field, value, contact[field])
  })
}

/** Two spellings of one phone number count as equal: otherwise every message would rewrite the row. */
function isSameText(field: ProfileField, value: string, current: string | null): boolean {
  if (field !== 'phone' || current === null) return value === current
  return phoneKey(value) === phoneKey(current)
}

function byRetirement(a: Assignment, b: Assignment): number {
  return a.retired_at < b.retired_at ? -1 : 1
}
