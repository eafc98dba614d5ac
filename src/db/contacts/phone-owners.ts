/**
 * The owners of a phone number, one after the other.
 *
 * A number that is seen with the user ids of two people went from one to the other: each has it from the first time at which
 * it was seen with a user id of theirs until just before the next owner's first time. That does not depend on the order in
 * which the messages arrive. A message with the number alone is of the owner at its time.
 */
import type { Identifier } from './identifiers.ts'
import {
  type Assignment,
  addAssignment,
  assignmentsOf,
  type Contact,
  heldFrom,
  heldUntil,
  type IdentityMap,
  recordLink,
  recordUse,
  retire,
  survivorOf,
} from './identity-map.ts'

/**
 * At this many entries of one number, no more are added. Two ids that take turns with one number (a mistake of the provider)
 * would otherwise add one with every message; messages with a user id go to its contact in any case.
 */
const MAX_OWNERS = 16

/** Notes that the contact, known by a user id, had the phone at `seenAt`. */
export function recordOwner(
  identities: IdentityMap,
  phone: Identifier,
  contact: Contact,
  seenAt: number,
): void {
  const owners = assignmentsOf(identities, phone)
  const index = owners.findIndex(({ retired_at }) => retired_at >= seenAt)
  const [holder, next] = index === -1 ? [] : owners.slice(index, index + 2)
  if (holder === undefined) own(addAssignment(identities, phone, contact, seenAt), seenAt)
  else if (survivorOf(holder.contact) === contact) own(holder, seenAt)
  else if (owners.length < MAX_OWNERS) insertOwner(identities, { holder, next, contact, seenAt })
}

function own(assignment: Assignment, seenAt: number): void {
  recordUse(assignment, seenAt)
  recordLink(assignment, seenAt)
}

type Insertion = {
  /** Another person, who has the phone at `seenAt` so far. */
  holder: Assignment
  next: Assignment | undefined
  contact: Contact
  seenAt: number
}

function insertOwner(identities: IdentityMap, { holder, next, contact, seenAt }: Insertion): void {
  const [from, until, end] = [heldFrom(holder), heldUntil(holder), holder.retired_at]
  const isBefore = seenAt < from || (seenAt === from && precedes(contact, holder.contact))
  if (isBefore) {
    own(addAssignment(identities, holder, contact, seenAt, { retiredAt: from - 1 }), seenAt)
    return
  }
  retire(identities, holder, seenAt - 1)
  if (until > seenAt) {
    own(addAssignment(identities, holder, contact, seenAt, { retiredAt: until - 1 }), seenAt)
    own(addAssignment(identities, holder, survivorOf(holder.contact), until, { retiredAt: end }), until)
  } else if (next !== undefined && survivorOf(next.contact) === contact) own(next, seenAt)
  else own(addAssignment(identities, holder, contact, seenAt, { retiredAt: end }), seenAt)
}

/** Some order of two owners that were first seen in the same millisecond, as long as it is always the same. */
function precedes(a: Contact, b: Contact): boolean {
  return (a.firstUserId ?? '') < (survivorOf(b).firstUserId ?? '')
}
