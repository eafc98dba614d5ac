/** The conversation and the sender of every message of a batch, from the contact cache or from the database. */
import type { Kysely, Transaction } from 'kysely'
import type { ControlChange } from '../../core/fact.ts'
import type { CacheEntries, ContactCache } from '../contacts/contact-cache.ts'
import type { ControlSign } from '../contacts/conversation-control.ts'
import { type ConversationKey, resolveConversations } from '../contacts/conversations.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import {
  plausibleTime,
  resolveContacts,
  resolveSeenContacts,
  type SeenChange,
  type SeenContact,
} from '../contacts/resolve-contacts.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import type { PlacedMessage } from './insert-messages.ts'
import { isMessageItem, type StoreItem } from './store-item.ts'

export type Placement = {
  /** One for each message among the items, in their order. */
  placed: PlacedMessage[]
  /** What the items say about control of conversations, for `recordControl`. */
  control: ControlSign[]
  /** Stores in the cache what was looked up. Call it after the commit. */
  onCommit: () => void
}

/**
 * Resolves all contacts of the batch in one call, so that their locks are taken in one order. Creates contacts and
 * conversations as needed.
 */
export async function placeMessages(
  trx: Transaction<Database>,
  items: readonly StoreItem[],
  contactCache: ContactCache | undefined,
): Promise<Placement> {
  const refs = items.flatMap(contactRefs)
  const changes = items.flatMap(identityChanges)
  if (refs.length === 0 && changes.length === 0) return { placed: [], control: [], onCommit: () => {} }
  // An identity change can merge contacts, so every contact of such a batch has to be resolved in the database.
  const cache = changes.length === 0 ? contactCache : undefined
  const epoch = cache === undefined ? '' : await lockMergesShared(trx)
  cache?.enter(epoch)

  const cached = refs.map(({ ref, seen_at }) => cache?.findContact(ref, plausibleTime(seen_at)))
  const missing = refs.filter((_, index) => cached[index] === undefined)
  const resolved = await resolveSeenContacts(trx, missing, changes, { isLockedShared: cache !== undefined })
  const contactIds = new Map<object, string | undefined>([
    ...refs.map(({ ref }, index) => [ref, cached[index]] as const),
    ...missing.map(({ ref }, index) => [ref, resolved[index]?.id] as const),
  ])

  const messages = items.filter(isMessageItem)
  const controls = items.flatMap(controlChanges)
  const keys = [
    ...messages.map(({ fact }) => fact),
    ...controls.map(({ event, change }) => ({ provider: event.provider, ...change })),
  ].map(({ provider, business_number, contact }) => ({
    provider,
    business_number,
    contact_id: contactIds.get(contact) ?? '',
  }))
  const { ids, entries } = await placeConversations(trx, keys, cache)
  const contacts = missing.flatMap(({ ref }, index) => {
    const contact = resolved[index]
    return contact === undefined ? [] : { ref, resolved: contact }
  })
  const placed = messages.map((item, index) => ({
    item,
    conversation_id: ids[index] ?? '',
    sender_contact_id: (item.fact.sender && contactIds.get(item.fact.sender)) ?? null,
  }))
  const handovers = controls.map(({ change: { holder, role = null, at } }, index) => {
    return { conversation_id: ids[messages.length + index] ?? '', holder, role, at }
  })
  return {
    placed,
    control: [...handovers, ...placed.flatMap(standbySign)],
    onCommit: () => cache?.store(epoch, { contacts, conversations: entries }),
  }
}

/**
 * Merges the contacts that the items bring together, and creates new ones, in a transaction of its own: everybody waits for it,
 * so it is shorter than one that stores the batch too.
 */
export async function mergeContactsOf(db: Kysely<Database>, items: readonly StoreItem[]): Promise<void> {
  const [refs, changes] = [items.flatMap(contactRefs), items.flatMap(identityChanges)]
  await retryConflicts(() => db.transaction().execute((trx) => resolveContacts(trx, refs, changes)))
}

/** `ids` in the order of the keys; `entries`: those that were not in the cache. */
async function placeConversations(
  trx: Transaction<Database>,
  keys: readonly ConversationKey[],
  cache: ContactCache | undefined,
): Promise<{ ids: string[]; entries: CacheEntries['conversations'] }> {
  const cached = keys.map((key) => cache?.findConversation(key))
  const missing = keys.filter((_, index) => cached[index] === undefined)
  const resolved = await resolveConversations(trx, missing)
  const entries = missing.map((key, index) => ({ key, id: resolved[index] ?? '' }))
  const rest = resolved.values()
  return { ids: cached.map((id) => id ?? rest.next().value ?? ''), entries }
}

function contactRefs({ fact, event }: StoreItem): SeenContact[] {
  const received = new Date(event.received_at)
  if (fact.kind === 'message') {
    const seen = { seen_at: fact.sent_at ?? received, account: accountOf(fact) }
    const sender = fact.sender === undefined ? [] : [{ ref: fact.sender, ...seen }]
    return [{ ref: fact.contact, ...seen }, ...sender]
  }
  // A status creates no contact, unless it names a phone and a user id: knowing both keeps a conversation from forking.
  if (fact.kind === 'status') {
    const { recipient } = fact
    const namesBoth = recipient?.phone !== undefined && recipient.user_id !== undefined
    const account = accountOf(fact)
    return namesBoth ? [{ ref: recipient, seen_at: fact.occurred_at ?? received, account }] : []
  }
  if (fact.kind !== 'other') return []
  const account = accountOf(event)
  const { contacts, control } = fact
  const ofControl = control === undefined ? [] : [{ ref: control.contact, seen_at: control.at, account }]
  return [...contacts.map((ref) => ({ ref, seen_at: received, account })), ...ofControl]
}

function controlChanges({ fact, event }: StoreItem): { event: StoreItem['event']; change: ControlChange }[] {
  return fact.kind === 'other' && fact.control !== undefined ? [{ event, change: fact.control }] : []
}

/** A message in standby says that another app had control at that time. */
function standbySign({ item: { fact, event }, conversation_id }: PlacedMessage): ControlSign[] {
  if (fact.source !== 'standby' || fact.sent_at === undefined) return []
  const at = new Date(Math.min(fact.sent_at.getTime(), event.received_at))
  return [{ conversation_id, holder: 'other', role: null, at }]
}

function identityChanges({ fact, event }: StoreItem): SeenChange[] {
  if (fact.kind === 'other')
    return fact.identities.map((identity) => ({ ...identity, account: accountOf(event) }))
  if (fact.kind !== 'message' || fact.identity === undefined) return []
  return [{ ...fact.identity, account: accountOf(fact) }]
}

/** Where a webhook names no account, the number of ours stands for it: it belongs to one account. */
function accountOf({ account, business_number }: { account?: string; business_number?: string }): string {
  return account ?? business_number ?? ''
}
