/**
 * Identity changes: somebody takes another number or gets another user id.
 *
 * A change ends the ownership of the old phone at that moment, so it does not matter whether the messages before and
 * after it arrive before or after it. What does matter: a message that the next owner of a number sends before the
 * change of the previous one has arrived is filed under the previous owner, and stays there.
 */
import type { IdentityChange } from '../../core/fact.ts'
import { type Identifier, personalIdentifiersOf } from './identifiers.ts'
import {
  addOwnership,
  type ContactBook,
  describe,
  findOwnership,
  type Ownership,
  type Person,
  personOf,
  retire,
  unite,
  use,
} from './identity-map.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/**
 * A number that nobody used before the change and somebody uses within this time is used by whoever announced it:
 * carriers let a number rest for at least 45 days before they give it away (47 CFR 52.15).
 */
const RESTING_TIME_MS = 30 * DAY
/** One change may be told in two webhooks (`system` and `user_id_update`) whose timestamps differ a little. */
const TOLD_TWICE_MS = MINUTE

/**
 * From `changedAt` on, the person known as `from` is known as `to`. Applying a change again changes nothing. One that
 * announces a phone that somebody else used both before and after it is older than that use, and is ignored.
 */
export function recordChange(book: ContactBook, change: IdentityChange, changedAt: number): void {
  const left = personalIdentifiersOf(change.from).map((identifier) =>
    findLeft(book, identifier, change, changedAt),
  )
  const joined = personalIdentifiersOf(change.to).map((identifier) => ({
    identifier,
    ownership: findOwnership(book, identifier, changedAt + 1),
  }))
  if (left.length === 0 || joined.length === 0) return
  const known = left.flatMap(({ ownership }) => ownership?.person ?? [])
  const others = joined.flatMap(({ ownership }) => (ownership && !isOneOf(known, ownership) ? ownership : []))
  if (others.some((ownership) => isStale(ownership, changedAt))) return

  const former = others.filter((ownership) => isFormerOwner(ownership, changedAt))
  const same = others.filter((ownership) => !former.includes(ownership))
  const person = unite(book, [...known, ...same.map((ownership) => ownership.person)])
  for (const { identifier, ownership } of joined) {
    if (ownership && former.includes(ownership)) takeOver(book, ownership, person, changedAt)
    else join(book, identifier, ownership, person, changedAt)
  }
  for (const { identifier, isGivenUp, ownership } of left)
    leave(book, identifier, isGivenUp, ownership, person, changedAt)
  describe(person, change.to, changedAt)
}

type Left = { identifier: Identifier; isGivenUp: boolean; ownership: Ownership | undefined }

/** An identifier before the change. Who was first seen with a phone after it was given up is not who gave it up. */
function findLeft(
  book: ContactBook,
  identifier: Identifier,
  change: IdentityChange,
  changedAt: number,
): Left {
  const isGivenUp = personalIdentifiersOf(change.to).some(
    ({ kind, value }) => kind === identifier.kind && value !== identifier.value,
  )
  const ownership = findOwnership(book, identifier, changedAt)
  const isNextOwner =
    isGivenUp &&
    identifier.kind === 'phone' &&
    ownership &&
    ownership.first_used_at > changedAt + TOLD_TWICE_MS
  return { identifier, isGivenUp, ownership: isNextOwner ? undefined : ownership }
}

function isOneOf(people: readonly Person[], ownership: Ownership): boolean {
  return people.some((person) => personOf(person) === personOf(ownership.person))
}

/** Somebody else's phone in use since before the change, or first used so long after it that it was given away again. */
function isStale(ownership: Ownership, changedAt: number): boolean {
  if (ownership.kind !== 'phone') return false
  if (isFormerOwner(ownership, changedAt)) return ownership.last_used_at > changedAt
  return ownership.first_used_at > changedAt + RESTING_TIME_MS
}

function isFormerOwner(ownership: Ownership, changedAt: number): boolean {
  return ownership.kind === 'phone' && ownership.first_used_at < changedAt - TOLD_TWICE_MS
}

/** The former owner keeps the phone up to the change, the person has it from there on. */
function takeOver(book: ContactBook, former: Ownership, person: Person, changedAt: number): void {
  const until = former.retired_at
  retire(book, former, changedAt)
  addOwnership(book, former, person, changedAt, until)
}

function join(
  book: ContactBook,
  identifier: Identifier,
  ownership: Ownership | undefined,
  person: Person,
  changedAt: number,
): void {
  if (!ownership) {
    addOwnership(book, identifier, person, changedAt)
    return
  }
  if (ownership.retired_at <= changedAt) ownership.retired_at = Infinity
  use(ownership, changedAt)
}

function leave(
  book: ContactBook,
  identifier: Identifier,
  isGivenUp: boolean,
  ownership: Ownership | undefined,
  person: Person,
  changedAt: number,
): void {
  const left =
    ownership ?? addOwnership(book, identifier, person, changedAt, isGivenUp ? changedAt : Infinity)
  if (isGivenUp && left.retired_at === Infinity) retire(book, left, changedAt)
}
