/**
 * Who a message is from or to.
 *
 * A person is known by a phone, a business-scoped user id, a parent user id, or several of them, and any of them may be
 * missing in the next message. Whatever stands in one ref is one contact; contacts that a ref brings together are merged.
 * Refs in any order, in any batches, written by any number of processes at once, end in the same contacts.
 */
import { sql, type Transaction } from 'kysely'
import type { ContactRef, IdentityChange } from '../../core/fact.ts'
import type { Database } from '../schema.ts'
import type { ResolvedContact } from './contact-cache.ts'
import { identifiersOf } from './identifiers.ts'
import { recordChange } from './identity-change.ts'
import { type ContactBook, type Person, personOf, recordRef } from './identity-map.ts'
import { mergeContacts } from './merge.ts'
import { holdOffMerges, lockForMerging, startContactGeneration } from './merge-lock.ts'
import { type ContactPlan, isEmpty, isMerging, planContacts, steadySpan } from './plan.ts'
import { insertContacts, loadContactBook, updateProfiles, updateRetirements, updateUses } from './rows.ts'

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
  const contacts = await resolveSeenContacts(trx, refs, changes)
  return contacts.map(({ id }) => id)
}

/**
 * The same, with what can be remembered of each contact. `isHeld`: the transaction has called `holdOffMerges` and relies on
 * contacts that are not in `refs`, so nothing may be merged.
 * @throws ContactsToMergeError when `isHeld` and there is something to merge: run the transaction again without.
 */
export async function resolveSeenContacts(
  trx: Transaction<Database>,
  refs: readonly SeenContact[],
  changes: readonly IdentityChange[] = [],
  { isHeld = false } = {},
): Promise<ResolvedContact[]> {
  const batch = readBatch(refs, changes)
  if (batch.refs.length === 0 && batch.changes.length === 0) return []
  const glance = await workOn(trx, batch)
  if (isEmpty(glance.plan)) {
    if (!isHeld) await holdOffMerges(trx)
    return resolved(glance)
  }
  const besideOthers = isMerging(glance.plan) ? undefined : await raceOthers(trx, batch)
  if (besideOthers !== undefined) return resolved(besideOthers)
  if (isHeld) throw new ContactsToMergeError()
  return resolved(await resolveAlone(trx, batch))
}

async function raceOthers(trx: Transaction<Database>, batch: Batch): Promise<Worked | undefined> {
  for (let lostRaces = 0; lostRaces < MAX_LOST_RACES; lostRaces += 1) {
    const worked = await resolveBesideOthers(trx, batch)
    if (worked === 'merging') return undefined
    if (worked !== 'raced') return worked
  }
  return undefined
}

async function resolveAlone(trx: Transaction<Database>, batch: Batch): Promise<Worked> {
  await lockForMerging(trx)
  const worked = await workOn(trx, batch)
  if (!(await writePlan(trx, worked.plan)))
    throw new Error('contacts changed behind the lock for merging: every writer has to take it')
  return worked
}

/** A transaction that keeps others from merging has something to merge itself. */
export class ContactsToMergeError extends Error {
  override name = 'ContactsToMergeError'
  /** Treated like a serialization failure: the same transaction runs again. */
  code = '40001'
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
export function plausibleTime(time: Date): number {
  const now = Date.now()
  const ms = time.getTime()
  return Number.isNaN(ms) ? now : Math.max(0, Math.min(ms, now))
}

type Worked = { plan: ContactPlan; contacts: WorkedContact[] }
type WorkedContact = Omit<ResolvedContact, 'id'> & { person: Person }

/** Loads what is stored and works out what the batch makes of it. */
async function workOn(trx: Transaction<Database>, batch: Batch): Promise<Worked> {
  const book = await loadContactBook(trx, [
    ...batch.refs.flatMap(({ ref }) => identifiersOf(ref)),
    ...batch.changes.flatMap(({ change }) => [...identifiersOf(change.from), ...identifiersOf(change.to)]),
  ])
  for (const { change, changedAt } of batch.changes) recordChange(book, change, changedAt)
  const people = recordRefs(book, batch).map(personOf)
  const plan = planContacts(book)
  const contacts = people.map((person, index) => {
    const steady = steadySpan(book, batch.refs[index]?.ref ?? {}, person)
    return { person, isNews: person.id !== undefined && person.news.size > 0, ...(steady && { steady }) }
  })
  return { plan, contacts }
}

function resolved({ contacts }: Worked): ResolvedContact[] {
  return contacts.map(({ person, ...rest }) => ({ id: idOf(person), ...rest }))
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
): Promise<Worked | 'raced' | 'merging'> {
  await sql`SAVEPOINT resolve_contacts`.execute(trx)
  await holdOffMerges(trx)
  const worked = await workOn(trx, batch)
  const isToMerge = isMerging(worked.plan)
  const isWritten = !isToMerge && (await writePlan(trx, worked.plan))
  if (!isWritten) await sql`ROLLBACK TO SAVEPOINT resolve_contacts`.execute(trx)
  await sql`RELEASE SAVEPOINT resolve_contacts`.execute(trx)
  if (isWritten) return worked
  return isToMerge ? 'merging' : 'raced'
}

/** False when somebody else stored one of the identifiers meanwhile: the transaction has to go back then. */
async function writePlan(trx: Transaction<Database>, plan: ContactPlan): Promise<boolean> {
  if (isMerging(plan)) await startContactGeneration(trx)
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
