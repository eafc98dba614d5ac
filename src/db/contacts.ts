/**
 * Who a message is from or to.
 *
 * A person is known by a phone, a business-scoped user id, a parent user id, or several of them, and any of them may be
 * missing in the next message. Whatever stands in one ref is one contact; contacts that a ref brings together are merged.
 * Refs in any order, in any batches, written by any number of processes at once, end in the same contacts.
 */
import { sql, type Transaction } from 'kysely'
import type { ContactRef, IdentityChange } from '../core/fact.ts'
import { type ContactBook, type Person, personOf, recordRef } from './contact-book.ts'
import { recordChange } from './contact-change.ts'
import { identifiersOf } from './contact-identifiers.ts'
import { holdOffMerges, lockForMerging } from './contact-lock.ts'
import { mergeContacts } from './contact-merge.ts'
import { type ContactPlan, isEmpty, isMerging, planContacts } from './contact-plan.ts'
import {
  insertContacts,
  loadContactBook,
  updateProfiles,
  updateRetirements,
  updateUses,
} from './contact-rows.ts'
import type { Database } from './schema.ts'

export type SeenContact = { ref: ContactRef; seen_at: Date }

/** Losing a race this often in a row means that many others write the same contacts: then one takes the lock alone. */
const MAX_LOST_RACES = 3

/**
 * The contact id of every ref, in the same order; creates, links and merges. `changes` are applied first.
 *
 * Call it once in a transaction and before anything else there, with everything the transaction is about: it takes the
 * lock that keeps contacts from being merged until the transaction ends (contact-lock.ts), and two transactions that
 * take such locks in several steps can wait for each other. `seen_at` is the provider's time of the message.
 */
export async function resolveContacts(
  trx: Transaction<Database>,
  refs: readonly SeenContact[],
  changes: readonly IdentityChange[] = [],
): Promise<string[]> {
  const batch = readBatch(refs, changes)
  if (batch.refs.length === 0 && batch.changes.length === 0) return []
  const glance = await workOn(trx, batch)
  if (isEmpty(glance.plan)) {
    await holdOffMerges(trx)
    return glance.people.map(idOf)
  }
  if (!isMerging(glance.plan)) {
    for (let lostRaces = 0; lostRaces < MAX_LOST_RACES; lostRaces += 1) {
      const people = await resolveBesideOthers(trx, batch)
      if (people === 'merging') break
      if (people !== 'raced') return people.map(idOf)
    }
  }
  await lockForMerging(trx)
  const { plan, people } = await workOn(trx, batch)
  if (!(await writePlan(trx, plan)))
    throw new Error('contacts changed behind the lock for merging: every writer has to take it')
  return people.map(idOf)
}

/**
 * Applies changes of number or user id: from then on `from` is known as `to` (contact-change.ts). To be called before
 * `resolveContacts` when a transaction needs both, or as its third argument, which needs fewer round trips.
 */
export async function applyIdentityChanges(
  trx: Transaction<Database>,
  changes: readonly IdentityChange[],
): Promise<void> {
  await resolveContacts(trx, [], changes)
}

type Batch = {
  refs: { ref: ContactRef; seenAt: number }[]
  changes: { change: IdentityChange; changedAt: number }[]
}

function readBatch(refs: readonly SeenContact[], changes: readonly IdentityChange[]): Batch {
  return {
    refs: refs.map(({ ref, seen_at }) => ({ ref, seenAt: plausibleTime(seen_at) })),
    changes: changes
      .map((change) => ({ change, changedAt: plausibleTime(change.changed_at) }))
      .sort((a, b) => a.changedAt - b.changedAt),
  }
}

/** A time in the future would win against everything that is seen later. */
function plausibleTime(time: Date): number {
  const now = Date.now()
  const ms = time.getTime()
  return Number.isNaN(ms) ? now : Math.max(0, Math.min(ms, now))
}

type Worked = { plan: ContactPlan; people: Person[] }

/** Loads what is stored and works out what the batch makes of it. */
async function workOn(trx: Transaction<Database>, batch: Batch): Promise<Worked> {
  const book = await loadContactBook(trx, [
    ...batch.refs.flatMap(({ ref }) => identifiersOf(ref)),
    ...batch.changes.flatMap(({ change }) => [...identifiersOf(change.from), ...identifiersOf(change.to)]),
  ])
  for (const { change, changedAt } of batch.changes) recordChange(book, change, changedAt)
  const people = recordRefs(book, batch)
  return { plan: planContacts(book), people: people.map(personOf) }
}

/** In the order of time, so that the latest name is the one that stays; given back in the order of the batch. */
function recordRefs(book: ContactBook, { refs }: Batch): Person[] {
  const people: Person[] = []
  const byTime = refs.map((seen, index) => ({ ...seen, index })).sort((a, b) => a.seenAt - b.seenAt)
  for (const { ref, seenAt, index } of byTime) people[index] = recordRef(book, ref, seenAt)
  return people
}

/**
 * The way of everybody who merges nothing: many do so at the same time. With nothing written and no lock held it gives
 * `raced` when somebody else was faster with an identifier, and `merging` when there turns out to be something to merge.
 */
async function resolveBesideOthers(
  trx: Transaction<Database>,
  batch: Batch,
): Promise<Person[] | 'raced' | 'merging'> {
  await sql`SAVEPOINT resolve_contacts`.execute(trx)
  await holdOffMerges(trx)
  const { plan, people } = await workOn(trx, batch)
  const isToMerge = isMerging(plan)
  const isWritten = !isToMerge && (await writePlan(trx, plan))
  if (!isWritten) await sql`ROLLBACK TO SAVEPOINT resolve_contacts`.execute(trx)
  await sql`RELEASE SAVEPOINT resolve_contacts`.execute(trx)
  if (isWritten) return people
  return isToMerge ? 'merging' : 'raced'
}

/** False when somebody else stored one of the identifiers meanwhile: the transaction has to go back then. */
async function writePlan(trx: Transaction<Database>, plan: ContactPlan): Promise<boolean> {
  await updateRetirements(trx, plan.retirements)
  if (plan.newOwnerships.length > 0) {
    const ids = await insertContacts(trx, plan)
    if (!ids) return false
    for (const [index, person] of plan.newPeople.entries()) person.id = ids[index]
  }
  await mergeContacts(trx, plan.merges)
  await updateProfiles(trx, plan.profiles)
  await updateUses(trx, plan.uses)
  return true
}

function idOf(person: Person): string {
  if (person.id === undefined) throw new Error('a contact was not stored')
  return person.id
}
