/** The difference between an identity map and the stored rows: what has to be written. */
import type { ContactRef } from '../../core/fact.ts'
import type { TimeSpan } from './contact-cache.ts'
import { identifierKey, identifiersOf } from './identifiers.ts'
import { type Assignment, type Contact, hasProfileOf, type IdentityMap, survivorOf } from './identity-map.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** A use is written only when it moves a stored time by more than this, so that not every message rewrites rows. */
const LAST_USE_ACCURACY_MS = HOUR
const FIRST_USE_ACCURACY_MS = MINUTE

export type ContactPlan = {
  newContacts: Contact[]
  newAssignments: Assignment[]
  /** Stored contacts that are merged into another one. */
  merges: { loser: Contact; survivor: Contact }[]
  /** Stored assignments with another `retired_at`. */
  retirements: Assignment[]
  /** Stored assignments with another first or last use. */
  uses: Assignment[]
  /** Stored contacts with another name, username or phone. */
  profiles: Contact[]
}

export function planContacts(identities: IdentityMap): ContactPlan {
  const assignments = [...identities.assignments.values()].flat()
  for (const assignment of assignments) assignment.contact = survivorOf(assignment.contact)
  const contacts = identities.contacts.filter((contact) => !contact.merged_into)
  return {
    newContacts: contacts.filter(({ id }) => id === undefined),
    newAssignments: assignments.filter(({ stored }) => !stored),
    merges: identities.contacts.flatMap((contact) =>
      contact.merged_into && contact.id !== undefined
        ? { loser: contact, survivor: survivorOf(contact) }
        : [],
    ),
    retirements: assignments.filter(({ stored, retired_at }) => stored && stored.retired_at !== retired_at),
    uses: assignments.filter(hasMovedUse),
    profiles: contacts.filter(({ id, dirtyFields }) => id !== undefined && dirtyFields.size > 0),
  }
}

/** Whether the plan changes the contact of a stored identifier. Such a plan needs the exclusive merge lock. */
export function changesIdentities(plan: ContactPlan): boolean {
  return (
    plan.merges.length > 0 ||
    plan.retirements.length > 0 ||
    plan.newAssignments.some(({ retired_at }) => retired_at !== Infinity)
  )
}

export function isEmpty(plan: ContactPlan): boolean {
  return Object.values(plan).every((part) => part.length === 0)
}

function hasMovedUse({ stored, first_used_at, last_used_at }: Assignment): boolean {
  if (!stored) return false
  return (
    last_used_at - stored.last_used_at > LAST_USE_ACCURACY_MS ||
    stored.first_used_at - first_used_at > FIRST_USE_ACCURACY_MS
  )
}

/**
 * The span of time in which the same ref would change nothing, once the plan is written. Undefined when that depends on more
 * than the time: the ref has another profile than the contact, or one of its identifiers once belonged to another contact.
 */
export function cacheValidity(
  identities: IdentityMap,
  ref: ContactRef,
  contact: Contact,
): TimeSpan | undefined {
  if (!hasProfileOf(contact, ref)) return undefined
  const span = { from: -Infinity, to: Infinity }
  for (const identifier of identifiersOf(ref)) {
    const [assignment, ...others] = identities.assignments.get(identifierKey(identifier)) ?? []
    if (assignment === undefined || others.length > 0 || assignment.retired_at !== Infinity) return undefined
    const { first_used_at, last_used_at } = storedUse(assignment)
    span.from = Math.max(span.from, first_used_at - FIRST_USE_ACCURACY_MS)
    span.to = Math.min(span.to, last_used_at + LAST_USE_ACCURACY_MS)
  }
  return span
}

function storedUse(assignment: Assignment): Pick<Assignment, 'first_used_at' | 'last_used_at'> {
  return assignment.stored !== undefined && !hasMovedUse(assignment) ? assignment.stored : assignment
}
