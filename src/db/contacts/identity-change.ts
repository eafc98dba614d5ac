/**
 * Identity changes: a person takes another phone number or gets another user id.
 *
 * A change joins the user ids that it names, for good. It ends the assignment of the old phone at that moment, so messages
 * from before and after it may arrive in any order. One order does matter where messages have no user ids: when the next
 * owner of a number writes before the previous owner's change has arrived, that message goes to the previous owner and stays
 * there.
 */
import type { IdentityChange } from '../../core/fact.ts'
import { type Identifier, isPhone, isUserId, personalIdentifiersOf } from './identifiers.ts'
import {
  type Assignment,
  addAssignment,
  assignmentsOf,
  type Contact,
  findAssignment,
  heldFrom,
  heldUntil,
  type IdentityMap,
  mergeContacts,
  recordLink,
  recordUse,
  retire,
  survivorOf,
} from './identity-map.ts'
import { areTwoPeople } from './portfolios.ts'
import { recordProfile } from './profile.ts'
import { assignUserId, type Sighting } from './record-ref.ts'

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
 * From then on (`seenAt`), the contact known as `from` is known as `to`. Repeating a change has no effect. A phone in it is
 * left alone when it is another person's, or when its uses say that the change is older than they are.
 */
export function recordChange(identities: IdentityMap, change: IdentityChange, sighting: Sighting): void {
  const changedAt = sighting.seenAt
  const from = personalIdentifiersOf(change.from)
  const to = personalIdentifiersOf(change.to)
  if (from.length === 0 || to.length === 0) return
  const named = [...from, ...to].filter(isUserId)
  const people = named.flatMap((id) => findAssignment(identities, id, changedAt)?.contact ?? [])
  const account = named.length > 0 ? [sighting.account] : []
  const old = from
    .map((identifier) => findOldAssignment(identities, identifier, change, changedAt))
    .filter(({ assignment }) => assignment === undefined || isTheirs(identities, people, account, assignment))
  const known = [...people, ...old.flatMap(({ assignment }) => assignment?.contact ?? [])]
  const next = to
    .map((identifier) => ({ identifier, assignment: findAssignment(identities, identifier, changedAt + 1) }))
    .filter(
      ({ assignment }) =>
        assignment === undefined ||
        (isOfFormerOwner(assignment, known, changedAt)
          ? heldUntil(assignment) <= changedAt
          : isTheirs(identities, known, account, assignment) && !isUsedLater(assignment, known, changedAt)),
    )
  if (next.length === 0) return

  const ofSamePerson = next.flatMap(({ assignment }) =>
    assignment && !isOfFormerOwner(assignment, known, changedAt) ? assignment.contact : [],
  )
  const contact = mergeContacts(identities, [...known, ...ofSamePerson])
  for (const { identifier, assignment } of next) {
    if (isUserId(identifier)) reassignUserId(identities, identifier, contact, sighting)
    else assignPhone(identities, identifier, assignment, contact, changedAt)
  }
  for (const gone of old) keepOrRetire(identities, gone, contact, sighting)
  recordProfile(contact, change.to, changedAt)
}

/** Whether an identifier is of these contacts, or of one that may be the same person. `account`: of user ids in the change. */
function isTheirs(
  { portfolios }: IdentityMap,
  contacts: readonly Contact[],
  account: readonly string[],
  assignment: Assignment,
): boolean {
  if (isUserId(assignment) || isOneOf(contacts, assignment)) return true
  const accounts = contacts.flatMap((contact) => survivorOf(contact).accounts)
  return !areTwoPeople(portfolios, [...account, ...accounts], survivorOf(assignment.contact).accounts)
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
    isPhone(identifier) &&
    assignment !== undefined &&
    heldFrom(assignment) > changedAt + REPORT_SKEW_MS
  return { identifier, isGivenUp, assignment: isOfNextOwner ? undefined : assignment }
}

/** Another contact first used the phone so late that it was given away again. */
function isUsedLater(assignment: Assignment, known: readonly Contact[], changedAt: number): boolean {
  return (
    isPhone(assignment) && !isOneOf(known, assignment) && heldFrom(assignment) > changedAt + RESTING_TIME_MS
  )
}

/** Another contact had the phone before the change. When it used the phone after it too, the change is older than that. */
function isOfFormerOwner(assignment: Assignment, known: readonly Contact[], changedAt: number): boolean {
  return (
    isPhone(assignment) && !isOneOf(known, assignment) && heldFrom(assignment) < changedAt - REPORT_SKEW_MS
  )
}

function isOneOf(contacts: readonly Contact[], assignment: Assignment): boolean {
  return contacts.some((contact) => survivorOf(contact) === survivorOf(assignment.contact))
}

/** A user id that comes back is in use again. */
function reassignUserId(
  identities: IdentityMap,
  userId: Identifier,
  contact: Contact,
  sighting: Sighting,
): void {
  const assignment = assignUserId(identities, userId, contact, sighting)
  if (assignment.retired_at <= sighting.seenAt) assignment.retired_at = Infinity
  recordUse(assignment, sighting.seenAt)
}

/** A former owner keeps the phone up to the change; the contact has it from there on. */
function assignPhone(
  identities: IdentityMap,
  phone: Identifier,
  assignment: Assignment | undefined,
  contact: Contact,
  changedAt: number,
): void {
  if (assignment === undefined || survivorOf(assignment.contact) === contact) {
    own(assignment ?? addAssignment(identities, phone, contact, changedAt), changedAt)
    return
  }
  const until = assignment.retired_at
  const next = assignmentsOf(identities, phone).find(({ retired_at }) => retired_at > until)
  retire(identities, assignment, changedAt)
  if (next !== undefined && survivorOf(next.contact) === contact) own(next, changedAt)
  else own(addAssignment(identities, phone, contact, changedAt, { retiredAt: until }), changedAt)
}

function own(assignment: Assignment, changedAt: number): void {
  recordUse(assignment, changedAt)
  recordLink(assignment, changedAt)
}

/** Retires an identifier that was given up. One that the contact keeps (a user id beside a new phone) stays assigned. */
function keepOrRetire(
  identities: IdentityMap,
  { identifier, isGivenUp, assignment }: OldAssignment,
  contact: Contact,
  { seenAt: changedAt, account }: Sighting,
): void {
  const old = isUserId(identifier)
    ? assignUserId(identities, identifier, contact, { seenAt: changedAt, account })
    : (assignment ??
      addAssignment(identities, identifier, contact, changedAt, {
        retiredAt: isGivenUp ? changedAt : Infinity,
      }))
  if (isGivenUp && old.retired_at > changedAt) retire(identities, old, changedAt)
}
