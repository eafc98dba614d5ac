/** The conversation and the sender of every message of a batch, from the contact cache or from the database. */
import type { Transaction } from 'kysely'
import type { CacheEntries, ContactCache } from '../contacts/contact-cache.ts'
import { type ConversationKey, resolveConversations } from '../contacts/conversations.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import {
  plausibleTime,
  resolveSeenContacts,
  type SeenChange,
  type SeenContact,
} from '../contacts/resolve-contacts.ts'
import type { Database } from '../schema.ts'
import type { PlacedMessage } from './messages.ts'
import { isMessageItem, type StoreItem } from './store-item.ts'

export type Placement = {
  /** One for each message among the items, in their order. */
  placed: PlacedMessage[]
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
  if (refs.length === 0 && changes.length === 0) return { placed: [], onCommit: () => {} }
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
  const keys = messages.map(({ fact }) => ({
    provider: fact.provider,
    business_number: fact.business_number,
    contact_id: contactIds.get(fact.contact) ?? '',
  }))
  const { ids, entries } = await placeConversations(trx, keys, cache)
  const contacts = missing.flatMap(({ ref }, index) => {
    const contact = resolved[index]
    return contact === undefined ? [] : { ref, resolved: contact }
  })
  return {
    placed: messages.map((item, index) => ({
      item,
      conversation_id: ids[index] ?? '',
      sender_contact_id: (item.fact.sender && contactIds.get(item.fact.sender)) ?? null,
    })),
    onCommit: () => cache?.store(epoch, { contacts, conversations: entries }),
  }
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
  return fact.contacts.map((ref) => ({ ref, seen_at: received, account }))
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
