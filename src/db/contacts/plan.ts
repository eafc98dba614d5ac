/** What has to be written after a book has been worked on. */
import type { ContactRef } from '../../core/fact.ts'
import type { TimeSpan } from './contact-cache.ts'
import { identifiersOf } from './identifiers.ts'
import {
  bookKey,
  type ContactBook,
  isKnownProfile,
  type Ownership,
  type Person,
  personOf,
} from './identity-map.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Times of use are kept to this accuracy, so that not every message rewrites its sender's rows. */
const LAST_USE_ACCURACY_MS = HOUR
const FIRST_USE_ACCURACY_MS = MINUTE

export type ContactPlan = {
  newPeople: Person[]
  newOwnerships: Ownership[]
  /** Stored contacts that turned out to be another stored one. */
  merges: { loser: Person; survivor: Person }[]
  /** Ownerships whose end moved. */
  retirements: Ownership[]
  /** Ownerships whose first or last use moved. */
  uses: Ownership[]
  /** Stored contacts whose name, username or phone changed. */
  profiles: Person[]
}

export function planContacts(book: ContactBook): ContactPlan {
  const ownerships = [...book.ownerships.values()].flat()
  for (const ownership of ownerships) ownership.person = personOf(ownership.person)
  const people = book.people.filter((person) => !person.same_as)
  return {
    newPeople: people.filter(({ id }) => id === undefined),
    newOwnerships: ownerships.filter(({ stored }) => !stored),
    merges: book.people.flatMap((person) =>
      person.same_as && person.id !== undefined ? { loser: person, survivor: personOf(person) } : [],
    ),
    retirements: ownerships.filter(({ stored, retired_at }) => stored && stored.retired_at !== retired_at),
    uses: ownerships.filter(hasMovedUse),
    profiles: people.filter(({ id, news }) => id !== undefined && news.size > 0),
  }
}

/** Does the plan change what a stored identifier stands for? */
export function isMerging(plan: ContactPlan): boolean {
  return (
    plan.merges.length > 0 ||
    plan.retirements.length > 0 ||
    plan.newOwnerships.some(({ retired_at }) => retired_at !== Infinity)
  )
}

export function isEmpty(plan: ContactPlan): boolean {
  return Object.values(plan).every((part) => part.length === 0)
}

function hasMovedUse({ stored, first_used_at, last_used_at }: Ownership): boolean {
  if (!stored) return false
  return (
    last_used_at - stored.last_used_at > LAST_USE_ACCURACY_MS ||
    stored.first_used_at - first_used_at > FIRST_USE_ACCURACY_MS
  )
}

/**
 * When the same ref would change nothing, once the plan has been written; undefined where that depends on more than the
 * time, because the ref says something else than what is stored, or one of its identifiers has stood for somebody else.
 */
export function steadySpan(book: ContactBook, ref: ContactRef, person: Person): TimeSpan | undefined {
  if (!isKnownProfile(person, ref)) return undefined
  const span = { from: -Infinity, to: Infinity }
  for (const identifier of identifiersOf(ref)) {
    const [ownership, ...others] = book.ownerships.get(bookKey(identifier)) ?? []
    if (ownership === undefined || others.length > 0 || ownership.retired_at !== Infinity) return undefined
    const { first_used_at, last_used_at } = storedUse(ownership)
    span.from = Math.max(span.from, first_used_at - FIRST_USE_ACCURACY_MS)
    span.to = Math.min(span.to, last_used_at + LAST_USE_ACCURACY_MS)
  }
  return span
}

function storedUse(ownership: Ownership): Pick<Ownership, 'first_used_at' | 'last_used_at'> {
  return ownership.stored !== undefined && !hasMovedUse(ownership) ? ownership.stored : ownership
}
