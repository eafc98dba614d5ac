/** The difference between an identity map and the stored rows: what has to be written. */
import type { ContactRef } from '../../core/fact.ts'
import type { TimeSpan } from './contact-cache.ts'
import { type Identifier, identifiersOf, isPhone, isUserId } from './identifiers.ts'
import { type Assignment, assignmentsOf, type Contact, type IdentityMap, survivorOf } from './identity-map.ts'
import { UNKNOWN_ACCOUNT } from './portfolios.ts'
import { hasProfileOf } from './profile.ts'

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
  /** Stored assignments with another first or last use, or with an account that was not known. */
  uses: Assignment[]
  /** Stored phones that were seen with a user id earlier than is stored, or for the first time. */
  links: Assignment[]
  /** Stored contacts that get another user id. */
  identified: Contact[]
  /** [account, portfolio] of all accounts, when two portfolios turned out to be one. */
  portfolios: [string, string][]
  /** Stored contacts with another name, username or phone. */
  profiles: Contact[]
}

export function planContacts(identities: IdentityMap): ContactPlan {
  const assignments = [...identities.assignments.values()].flat()
  for (const assignment of assignments) assignment.contact = survivorOf(assignment.contact)
  const contacts = identities.contacts.filter((contact) => !contact.merged_into)
  const newAssignments = assignments.filter(({ stored }) => !stored)
  const { known, isChanged } = identities.portfolios
  return {
    newContacts: contacts.filter(({ id }) => id === undefined),
    newAssignments,
    merges: identities.contacts.flatMap((contact) =>
      contact.merged_into && contact.id !== undefined
        ? { loser: contact, survivor: survivorOf(contact) }
        : [],
    ),
    retirements: assignments.filter(({ stored, retired_at }) => stored && stored.retired_at !== retired_at),
    uses: assignments.filter(hasMovedUse),
    links: assignments.filter(hasEarlierLink),
    identified: [...new Set(newAssignments.filter(isUserId).map(({ contact }) => contact))].filter(
      ({ id }) => id !== undefined,
    ),
    portfolios: isChanged ? [...known] : [],
    profiles: contacts.filter(({ id, dirtyFields }) => id !== undefined && dirtyFields.size > 0),
  }
}

/** Whether the plan changes the contact of a stored identifier. Such a plan needs the exclusive merge lock. */
export function changesIdentities(plan: ContactPlan): boolean {
  return (
    plan.merges.length > 0 ||
    plan.portfolios.length > 0 ||
    plan.retirements.length > 0 ||
    plan.newAssignments.some(({ retired_at }) => retired_at !== Infinity)
  )
}

export function isEmpty(plan: ContactPlan): boolean {
  return Object.values(plan).every((part) => part.length === 0)
}

function hasMovedUse({ stored, first_used_at, last_used_at, last_linked_at, account }: Assignment): boolean {
  if (!stored) return false
  return (
    last_used_at - stored.last_used_at > LAST_USE_ACCURACY_MS ||
    stored.first_used_at - first_used_at > FIRST_USE_ACCURACY_MS ||
    (last_linked_at ?? 0) - (stored.last_linked_at ?? Infinity) > LAST_USE_ACCURACY_MS ||
    stored.account !== account
  )
}

/** Exact, because it decides between two owners of a number. */
function hasEarlierLink({ stored, first_linked_at }: Assignment): boolean {
  return stored !== undefined && first_linked_at !== stored.first_linked_at
}

/**
 * The span of time around `seenAt` in which the same ref would change nothing, once the plan is written. Undefined when that
 * depends on more than the time: the ref has another profile than the contact, or not all of its identifiers are the contact's.
 */
export function cacheValidity(
  identities: IdentityMap,
  { ref, seenAt }: { ref: ContactRef; seenAt: number },
  contact: Contact,
): TimeSpan | undefined {
  if (!hasProfileOf(contact, ref)) return undefined
  const identifiers = identifiersOf(ref)
  const isLinking = identifiers.some(isUserId)
  const span = { from: -Infinity, to: Infinity }
  for (const identifier of identifiers) {
    const own = validityOf(identities, identifier, seenAt, contact, isLinking)
    if (own === undefined) return undefined
    span.from = Math.max(span.from, own.from)
    span.to = Math.min(span.to, own.to)
  }
  return span
}

/** `isLinking`: the ref has a user id too, so that it moves the times at which the phone was seen with one. */
function validityOf(
  identities: IdentityMap,
  identifier: Identifier,
  seenAt: number,
  contact: Contact,
  isLinking: boolean,
): TimeSpan | undefined {
  const assignments = assignmentsOf(identities, identifier)
  const index = assignments.findIndex(({ retired_at }) => retired_at >= seenAt)
  const assignment = assignments[index]
  if (assignment === undefined || survivorOf(assignment.contact) !== contact) return undefined
  const stored = storedUse(assignment)
  if (isUserId(identifier) && (stored.account === UNKNOWN_ACCOUNT || assignment.retired_at !== Infinity))
    return undefined
  const span = {
    from: Math.max(
      stored.first_used_at - FIRST_USE_ACCURACY_MS,
      (assignments[index - 1]?.retired_at ?? -Infinity) + 1,
    ),
    to: Math.min(stored.last_used_at + LAST_USE_ACCURACY_MS, assignment.retired_at),
  }
  if (!isPhone(identifier) || !isLinking) return span
  if (assignment.first_linked_at === undefined) return undefined
  return {
    from: Math.max(span.from, assignment.first_linked_at),
    to: Math.min(span.to, (stored.last_linked_at ?? assignment.first_linked_at) + LAST_USE_ACCURACY_MS),
  }
}

function storedUse(
  assignment: Assignment,
): Pick<Assignment, 'first_used_at' | 'last_used_at' | 'last_linked_at' | 'account'> {
  return assignment.stored !== undefined && !hasMovedUse(assignment) ? assignment.stored : assignment
}
