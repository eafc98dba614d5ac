/**
 * The contacts that a batch is about, in memory: loaded rows, to which refs and identity changes are applied. What then
 * differs from the loaded rows is what has to be written (contact-plan.ts). Nothing here touches the database.
 */
import type { ContactRef } from '../../core/fact.ts'
import { phoneKey } from '../../core/phone.ts'
import { type Identifier, identifiersOf, profileText } from './identifiers.ts'

/** Somebody: a stored contact, or one that will be. Times are milliseconds since 1970. */
export type Person = {
  /** undefined: not stored yet. */
  id: string | undefined
  name: string | null
  username: string | null
  phone: string | null
  /** When name, username or phone were last seen; a later sighting replaces them, an earlier one fills gaps. */
  profile_at: number | undefined
  /** Which of name, username and phone differ from what is stored. */
  news: Set<ProfileField>
  /** Set once this person turned out to be another one. */
  same_as?: Person
}

const PROFILE_FIELDS = ['name', 'username', 'phone'] as const
export type ProfileField = (typeof PROFILE_FIELDS)[number]

/** An identifier that stands for a person until `retired_at`, which is Infinity for the present owner. */
export type Ownership = Identifier & {
  person: Person
  retired_at: number
  first_used_at: number
  last_used_at: number
  /** The row as it is stored; undefined: not stored yet. */
  stored?: { retired_at: number; first_used_at: number; last_used_at: number }
}

export type ContactBook = {
  people: Person[]
  /** By kind and value; the ownerships of one identifier are ordered by `retired_at`. */
  ownerships: Map<string, Ownership[]>
}

/** Finds the person of a ref at that moment, or makes one; all identifiers of the ref stand for that person then. */
export function recordRef(book: ContactBook, ref: ContactRef, seenAt: number): Person {
  const identifiers = identifiersOf(ref)
  const person = unite(
    book,
    identifiers.flatMap((identifier) => findOwnership(book, identifier, seenAt)?.person ?? []),
  )
  for (const identifier of identifiers) {
    const ownership =
      findOwnership(book, identifier, seenAt) ?? addOwnership(book, identifier, person, seenAt)
    use(ownership, seenAt)
  }
  if (identifiers[0]?.kind !== 'none') describe(person, ref, seenAt)
  return person
}

/** Only phones are given to somebody else one day; a user id stands for one person for good. */
export function findOwnership(book: ContactBook, identifier: Identifier, at: number): Ownership | undefined {
  const ownerships = book.ownerships.get(bookKey(identifier)) ?? []
  if (identifier.kind !== 'phone') return ownerships.at(-1)
  return ownerships.find(({ retired_at }) => retired_at >= at)
}

export function addOwnership(
  book: ContactBook,
  { kind, value }: Identifier,
  person: Person,
  usedAt: number,
  retiredAt = Infinity,
): Ownership {
  const added = { kind, value, person, retired_at: retiredAt, first_used_at: usedAt, last_used_at: usedAt }
  const key = bookKey(added)
  book.ownerships.set(key, [...(book.ownerships.get(key) ?? []), added].sort(byRetirement))
  return added
}

export function use(ownership: Ownership, usedAt: number): void {
  ownership.first_used_at = Math.min(ownership.first_used_at, usedAt)
  ownership.last_used_at = Math.max(ownership.last_used_at, usedAt)
}

/** Ends an ownership at that moment, or at the first one after it at which no other ownership ends. */
export function retire(book: ContactBook, ownership: Ownership, retiredAt: number): void {
  const ownerships = book.ownerships.get(bookKey(ownership)) ?? []
  let moment = retiredAt
  while (ownerships.some((other) => other !== ownership && other.retired_at === moment)) moment += 1
  ownership.retired_at = moment
  ownerships.sort(byRetirement)
}

/** Who somebody is after everybody who turned out to be one has been united. */
export function personOf(person: Person): Person {
  let current = person
  while (current.same_as) current = current.same_as
  return current
}

/** Makes one person of all of them: the one stored longest. Of nobody at all it makes somebody new. */
export function unite(book: ContactBook, people: readonly Person[]): Person {
  const distinct = [...new Set(people.map(personOf))]
  const [survivor, ...others] = distinct.sort(byAge)
  if (!survivor) return addPerson(book)
  for (const other of others) {
    other.same_as = survivor
    adoptProfile(survivor, other)
  }
  return survivor
}

function addPerson(book: ContactBook): Person {
  const person: Person = {
    id: undefined,
    name: null,
    username: null,
    phone: null,
    profile_at: undefined,
    news: new Set(),
  }
  book.people.push(person)
  return person
}

/** Lowest id first; who is not stored yet comes last. */
function byAge(a: Person, b: Person): number {
  if (a.id === undefined || b.id === undefined) return Number(a.id === undefined) - Number(b.id === undefined)
  return BigInt(a.id) < BigInt(b.id) ? -1 : 1
}

/** Takes over name, username and phone, as far as they are news. */
export function describe(person: Person, ref: ContactRef, seenAt: number): void {
  adoptProfile(person, {
    name: profileText(ref.name) ?? null,
    username: profileText(ref.username) ?? null,
    phone: profileText(ref.phone) ?? null,
    profile_at: seenAt,
  })
}

type Profile = Pick<Person, ProfileField | 'profile_at'>

function adoptProfile(person: Person, seen: Profile): void {
  const seenAt = seen.profile_at ?? -Infinity
  const isNewer = seenAt >= (person.profile_at ?? -Infinity)
  for (const field of PROFILE_FIELDS) {
    const value = seen[field]
    if (value === null || isSameText(field, value, person[field])) continue
    if (person[field] !== null && !isNewer) continue
    person[field] = value
    person.news.add(field)
  }
  if (isNewer && PROFILE_FIELDS.some((field) => seen[field] !== null)) person.profile_at = seen.profile_at
}

/** Whether the ref says nothing of the person that is not stored. */
export function isKnownProfile(person: Person, ref: ContactRef): boolean {
  if (ref.group_id === undefined && identifiersOf(ref)[0]?.kind === 'none') return true
  return PROFILE_FIELDS.every((field) => {
    const value = profileText(ref[field])
    return value === undefined || isSameText(field, value, person[field])
  })
}

/** Two spellings of one number are no news: they would rewrite the row with every message. */
function isSameText(field: ProfileField, value: string, current: string | null): boolean {
  if (field !== 'phone' || current === null) return value === current
  return phoneKey(value) === phoneKey(current)
}

function byRetirement(a: Ownership, b: Ownership): number {
  return a.retired_at < b.retired_at ? -1 : 1
}

export function bookKey({ kind, value }: Identifier): string {
  return `${kind} ${value}`
}
