/**
 * Identity changes: a person takes another phone number or gets another user id.
 *
 * A change ends the assignment of the old phone at that moment, so messages from before and after it may arrive in any
 * order. One order does matter: when the next owner of a number writes before the previous owner's change has arrived, that
 * message goes to the previous owner and stays there.
 */
import type { IdentityChange } from '../../core/fact.ts'
import { type Identifier, personalIdentifiersOf } from './identifiers.ts'
import {
  type Assignment,
  addAssignment,
  type Contact,
  findAssignment,
  type IdentityMap,
  mergeContacts,
  recordProfile,
  recordUse,
  retire,
  survivorOf,
} from './identity-map.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/**
 * A phone first used within this time after the change belongs to the contact that announced it: carriers let a number rest
 * for at least 45 days before another person gets it (47 CFR 52.15).
 */
const RESTING_TIME_MS = 30 * DAY
/** One change can come in two webhooks (`system` and `user_id_update`) whose timestamps differ a little. */
const REPORT_SKEW_MS = MINUTE

/**
 * From `changedAt` (milliseconds since 1970) on, the contact known as `from` is known as `to`. Repeating a change has no
 * effect. A change is ignored when its new phone was used by another contact both before and after it: then it is older
 * than that use.
 */
export function recordChange(identities: IdentityMap, change: IdentityChange, changedAt: number): void {
  const old = personalIdentifiersOf(change.from).map((identifier) =>
    findOldAssignment(identities, identifier, change, changedAt),
  )
  const next = personalIdentifiersOf(change.to).map((identifier) => ({
    identifier,
    assignment: findAssignment(identities, identifier, changedAt + 1),
  }))
  if (old.length === 0 || next.length === 0) return
  const known = old.flatMap(({ assignment }) => assignment?.contact ?? [])
  const ofOthers = next.flatMap(({ assignment }) =>
    assignment && !isOneOf(known, assignment) ? assignment : [],
  )
  if (ofOthers.some((assignment) => isNewerThanChange(assignment, changedAt))) return

  const ofFormerOwners = ofOthers.filter((assignment) => isOfFormerOwner(assignment, changedAt))
  const ofSamePerson = ofOthers.filter((assignment) => !ofFormerOwners.includes(assignment))
  const contact = mergeContacts(identities, [
    ...known,
    ...ofSamePerson.map((assignment) => assignment.contact),
  ])
  for (const { identifier, assignment } of next) {
    if (assignment && ofFormerOwners.includes(assignment))
      reassign(identities, assignment, contact, changedAt)
    else assign(identities, identifier, assignment, contact, changedAt)
  }
  for (const { identifier, isGivenUp, assignment } of old)
    keepOrRetire(identities, identifier, isGivenUp, assignment, contact, changedAt)
  recordProfile(contact, change.to, changedAt)
}

type OldAssignment = {
  identifier: Identifier
  /** The change replaces it by another value of the same kind. */
  isGivenUp: boolean
  assignment: Assignment | undefined
}

/** An identifier before the change. A contact first seen with a phone after it was given up is its next owner, so not meant. */
function findOldAssignment(
  identities: IdentityMap,
  identifier: Identifier,
  change: IdentityChange,
  changedAt: number,
): OldAssignment {
  const isGivenUp = personalIdentifiersOf(change.to).some(
    ({ kind, value }) => kind === identifier.kind && value !== identifier.value,
  )
  const assignment = findAssignment(identities, identifier, changedAt)
  const isOfNextOwner =
    isGivenUp &&
    identifier.kind === 'phone' &&
    assignment &&
    assignment.first_used_at > changedAt + REPORT_SKEW_MS
  return { identifier, isGivenUp, assignment: isOfNextOwner ? undefined : assignment }
}

function isOneOf(contacts: readonly Contact[], assignment: Assignment): boolean {
  return contacts.some((contact) => survivorOf(contact) === survivorOf(assignment.contact))
}

/** Another contact used the phone before and after the change, or first used it so late that it was given away again. */
function isNewerThanChange(assignment: Assignment, changedAt: number): boolean {
  if (assignment.kind !== 'phone') return false
  if (isOfFormerOwner(assignment, changedAt)) return assignment.last_used_at > changedAt
  return assignment.first_used_at > changedAt + RESTING_TIME_MS
}

function isOfFormerOwner(assignment: Assignment, changedAt: number): boolean {
  return assignment.kind === 'phone' && assignment.first_used_at < changedAt - REPORT_SKEW_MS
}

/** The former owner keeps the phone up to the change; the contact has it from there on. */
function reassign(identities: IdentityMap, former: Assignment, contact: Contact, changedAt: number): void {
  const until = former.retired_at
  retire(identities, former, changedAt)
  addAssignment(identities, former, contact, changedAt, until)
}

function assign(
  identities: IdentityMap,
  identifier: Identifier,
  assignment: Assignment | undefined,
  contact: Contact,
  changedAt: number,
): void {
  if (!assignment) {
    addAssignment(identities, identifier, contact, changedAt)
    return
  }
  if (assignment.retired_at <= changedAt) assignment.retired_at = Infinity
  recordUse(assignment, changedAt)
}

/** Retires an identifier that was given up. One that the contact keeps (a user id beside a new phone) stays assigned. */
function keepOrRetire(
  identities: IdentityMap,
  identifier: Identifier,
  isGivenUp: boolean,
  assignment: Assignment | undefined,
  contact: Contact,
  changedAt: number,
): void {
  const old =
    assignment ?? addAssignment(identities, identifier, contact, changedAt, isGivenUp ? changedAt : Infinity)
  if (isGivenUp && old.retired_at === Infinity) retire(identities, old, changedAt)
}
