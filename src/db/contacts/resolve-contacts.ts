/**
 * From the identifiers in a message to a contact id.
 *
 * A person is known by a phone, a business-scoped user id, a parent user id, or several of them, and any of them may be
 * missing in the next message. The identifiers of one ref belong to one contact; contacts that a ref brings together are
 * merged, unless they are two people who had one phone number after each other (record-ref.ts). Refs in any order, in any
 * batches, written by any number of processes at once, end in the same contacts: docs/decisions/0012-user-ids-before-numbers.md.
 */
import { sql, type Transaction } from 'kysely'
import type { ContactRef, IdentityChange } from '../../core/fact.ts'
import { SQLSTATE } from '../errors.ts'
import type { Database } from '../schema.ts'
import type { ResolvedContact } from './contact-cache.ts'
import { identifiersOf, indexableText, isUserId } from './identifiers.ts'
import { recordChange } from './identity-change.ts'
import { assignmentsOf, type Contact, type IdentityMap, survivorOf } from './identity-map.ts'
import { writeContactMerges } from './merge.ts'
import { advanceContactEpoch, lockMergesExclusive, lockMergesShared } from './merge-lock.ts'
import { type ContactPlan, cacheValidity, changesIdentities, isEmpty, planContacts } from './plan.ts'
import { UNKNOWN_ACCOUNT } from './portfolios.ts'
import { recordRef } from './record-ref.ts'
import {
  insertContacts,
  loadIdentityMap,
  updateLinks,
  updateProfiles,
  updateRetirements,
  updateUses,
} from './rows.ts'
import { loadUserIds, lockIdentified, updatePortfolios } from './user-ids.ts'

/** `account`: the provider's account whose webhook it was in (WABA, AccountSid); user ids are only unique per portfolio. */
export type SeenContact = { ref: ContactRef; seen_at: Date; account?: string }
export type SeenChange = IdentityChange & { account?: string }

/** After losing so many races in a row for the same identifiers, the transaction takes the merge lock exclusively. */
const MAX_LOST_RACES = 3

/**
 * The contact ids of the refs, in the same order. Creates and merges contacts as needed; `changes` are applied first.
 * `seen_at` is the provider's time of the message.
 *
 * Call it once in a transaction, before anything else, with every ref of the transaction: it takes the merge lock
 * (merge-lock.ts), and two transactions that take such locks in several steps can wait for each other.
 */
export async function resolveContacts(
  trx: Transaction<Database>,
  refs: readonly SeenContact[],
  changes: readonly SeenChange[] = [],
): Promise<string[]> {
  const contacts = await resolveSeenContacts(trx, refs, changes)
  return contacts.map(({ id }) => id)
}

/**
 * Like `resolveContacts`, with what the contact cache needs to know. `isLockedShared`: the transaction holds the merge lock
 * shared already, because it relies on contacts that are not among `refs`; so it cannot merge any.
 * @throws ContactMergeRequiredError when `isLockedShared` and contacts have to be merged.
 */
export async function resolveSeenContacts(
  trx: Transaction<Database>,
  refs: readonly SeenContact[],
  changes: readonly SeenChange[] = [],
  { isLockedShared = false } = {},
): Promise<ResolvedContact[]> {
  const batch = readBatch(refs, changes)
  if (batch.refs.length === 0 && batch.changes.length === 0) return []
  const unlocked = await computePlan(trx, batch)
  if (isEmpty(unlocked.plan)) {
    if (!isLockedShared) await lockMergesShared(trx)
    return resolvedContacts(unlocked)
  }
  const shared = changesIdentities(unlocked.plan) ? undefined : await resolveSharedWithRetries(trx, batch)
  if (shared !== undefined) return resolvedContacts(shared)
  if (isLockedShared) throw new ContactMergeRequiredError()
  return resolvedContacts(await resolveExclusive(trx, batch))
}

/** Undefined: the batch needs the exclusive merge lock. */
async function resolveSharedWithRetries(
  trx: Transaction<Database>,
  batch: Batch,
): Promise<ComputedPlan | undefined> {
  for (let lostRaces = 0; lostRaces < MAX_LOST_RACES; lostRaces += 1) {
    const computed = await resolveShared(trx, batch)
    if (computed === 'merging') return undefined
    if (computed !== 'raced') return computed
  }
  return undefined
}

async function resolveExclusive(trx: Transaction<Database>, batch: Batch): Promise<ComputedPlan> {
  await lockMergesExclusive(trx)
  const computed = await computePlan(trx, batch)
  if (!(await writePlan(trx, computed.plan)))
    throw new Error('contacts changed behind the lock for merging: every writer has to take it')
  return computed
}

/** A transaction that holds the merge lock shared has contacts to merge. It has to run again when they are merged. */
export class ContactMergeRequiredError extends Error {
  override name = 'ContactMergeRequiredError'
  /** Callers run a transaction again after this state. */
  code = SQLSTATE.SERIALIZATION_FAILURE
}

/** Times in milliseconds since 1970. */
type Batch = {
  refs: { ref: ContactRef; seenAt: number; account: string }[]
  changes: { change: IdentityChange; seenAt: number; account: string }[]
}

function readBatch(refs: readonly SeenContact[], changes: readonly SeenChange[]): Batch {
  const accountOf = ({ account }: { account?: string }) =>
    account === undefined ? UNKNOWN_ACCOUNT : indexableText(account)
  return {
    refs: refs.map((seen) => ({
      ref: seen.ref,
      seenAt: plausibleTime(seen.seen_at),
      account: accountOf(seen),
    })),
    changes: changes
      .map((change) => ({ change, seenAt: plausibleTime(change.changed_at), account: accountOf(change) }))
      .sort((a, b) => a.seenAt - b.seenAt),
  }
}

/**
 * Milliseconds since 1970, at most the present time: a time in the future would win against every later sighting. An
 * invalid date counts as now.
 */
export function plausibleTime(time: Date): number {
  const now = Date.now()
  const ms = time.getTime()
  return Number.isNaN(ms) ? now : Math.max(0, Math.min(ms, now))
}

/** `contacts`: of the refs, in the order of the batch. */
type ComputedPlan = { plan: ContactPlan; contacts: ComputedContact[] }
type ComputedContact = Omit<ResolvedContact, 'id'> & { contact: Contact }

/** Loads the stored rows of the batch's identifiers, and works out what the batch changes. */
async function computePlan(trx: Transaction<Database>, batch: Batch): Promise<ComputedPlan> {
  const identities = await loadIdentityMap(trx, [
    ...batch.refs.flatMap(({ ref }) => identifiersOf(ref)),
    ...batch.changes.flatMap(({ change }) => [...identifiersOf(change.from), ...identifiersOf(change.to)]),
  ])
  if (bringsTogether(identities, batch)) await loadUserIds(trx, identities)
  for (const { change, ...sighting } of batch.changes) recordChange(identities, change, sighting)
  const recorded = recordRefs(identities, batch).map(survivorOf)
  const plan = planContacts(identities)
  const contacts = recorded.map((contact, index) => {
    const validity = cacheValidity(identities, batch.refs[index] ?? { ref: {}, seenAt: 0 }, contact)
    const hasProfileChange = contact.id !== undefined && contact.dirtyFields.size > 0
    return { contact, hasProfileChange, ...(validity && { validity }) }
  })
  return { plan, contacts }
}

/** Whether the batch names a user id together with an identifier that is not the same contact's yet. */
function bringsTogether(identities: IdentityMap, { refs, changes }: Batch): boolean {
  if (changes.length > 0) return true
  return refs.some(({ ref, account }) => {
    const identifiers = identifiersOf(ref)
    if (!identifiers.some(isUserId)) return false
    const found = identifiers.map((identifier) => assignmentsOf(identities, identifier))
    const assignments = found.flat()
    if (assignments.length === 0) return false
    const isOneContact = new Set(assignments.map(({ contact }) => contact)).size === 1
    const isOneAccount =
      account === UNKNOWN_ACCOUNT ||
      assignments.every((assignment) => !isUserId(assignment) || assignment.account === account)
    return !isOneContact || !isOneAccount || found.some(({ length }) => length === 0)
  })
}

function resolvedContacts({ contacts }: ComputedPlan): ResolvedContact[] {
  return contacts.map(({ contact, ...rest }) => ({ id: idOf(contact), ...rest }))
}

/** Records in the order of time, so that the latest name stays; returns in the order of the batch. */
function recordRefs(identities: IdentityMap, { refs }: Batch): Contact[] {
  const contacts: Contact[] = []
  const byTime = refs.map((seen, index) => ({ ...seen, index })).sort((a, b) => a.seenAt - b.seenAt)
  for (const { ref, index, ...sighting } of byTime) contacts[index] = recordRef(identities, ref, sighting)
  return contacts
}

/**
 * Writes a batch that merges nothing, under the shared merge lock, so that many transactions do it at the same time. When it
 * cannot, it has written nothing and holds no lock: `raced` means that another transaction has just stored one of the
 * identifiers, `merging` that contacts have to be merged.
 */
async function resolveShared(
  trx: Transaction<Database>,
  batch: Batch,
): Promise<ComputedPlan | 'raced' | 'merging'> {
  await sql`SAVEPOINT resolve_contacts`.execute(trx)
  await lockMergesShared(trx)
  const computed = await computePlan(trx, batch)
  const isMerging = changesIdentities(computed.plan)
  const isWritten = !isMerging && (await writePlan(trx, computed.plan))
  if (!isWritten) await sql`ROLLBACK TO SAVEPOINT resolve_contacts`.execute(trx)
  await sql`RELEASE SAVEPOINT resolve_contacts`.execute(trx)
  if (isWritten) return computed
  return isMerging ? 'merging' : 'raced'
}

/** False when another transaction has just stored one of the identifiers, or another user id of a contact: roll back then. */
async function writePlan(trx: Transaction<Database>, plan: ContactPlan): Promise<boolean> {
  if (changesIdentities(plan)) await advanceContactEpoch(trx)
  await updateRetirements(trx, plan.retirements)
  if (plan.newAssignments.length > 0) {
    const ids = await insertContacts(trx, plan)
    if (!ids) return false
    for (const [index, contact] of plan.newContacts.entries()) contact.id = ids[index]
  }
  await updateLinks(trx, plan.links)
  if (!(await lockIdentified(trx, plan))) return false
  await updatePortfolios(trx, plan.portfolios)
  await writeContactMerges(trx, plan.merges)
  await updateProfiles(trx, plan.profiles)
  await updateUses(trx, plan.uses)
  return true
}

function idOf(contact: Contact): string {
  if (contact.id === undefined) throw new Error('a contact was not stored')
  return contact.id
}
