/** Where the messages of a batch belong: their contacts and conversations, remembered or looked up. */
import type { Transaction } from 'kysely'
import type { ConversationName, KnownContacts, Resolution } from '../contacts/contact-cache.ts'
import { resolveConversations } from '../contacts/conversations.ts'
import { holdOffMerges } from '../contacts/merge-lock.ts'
import { plausibleTime, resolveSeenContacts, type SeenContact } from '../contacts/resolve-contacts.ts'
import type { Database } from '../schema.ts'
import type { PlacedMessage } from './messages.ts'
import { isMessageItem, type StoreItem } from './store-item.ts'

export type Placement = {
  /** One for each message among the items, in their order. */
  placed: PlacedMessage[]
  /** Remembers what was looked up; to be called once it is committed. */
  onCommit: () => void
}

/** One resolution for every contact that the batch speaks of, so that its locks are taken in one order. */
export async function placeMessages(
  trx: Transaction<Database>,
  items: readonly StoreItem[],
  known: KnownContacts | undefined,
): Promise<Placement> {
  const refs = items.flatMap(contactRefs)
  const changes = items.flatMap(identityChanges)
  if (refs.length === 0 && changes.length === 0) return { placed: [], onCommit: () => {} }
  // Who changes what contacts are has to look at all of them.
  const memory = changes.length === 0 ? known : undefined
  const generation = memory === undefined ? '' : await holdOffMerges(trx)
  memory?.enter(generation)

  const remembered = refs.map(({ ref, seen_at }) => memory?.contact(ref, plausibleTime(seen_at)))
  const unknown = refs.filter((_, index) => remembered[index] === undefined)
  const looked = await resolveSeenContacts(trx, unknown, changes, { isHeld: memory !== undefined })
  const contactIds = new Map<object, string | undefined>([
    ...refs.map(({ ref }, index) => [ref, remembered[index]] as const),
    ...unknown.map(({ ref }, index) => [ref, looked[index]?.id] as const),
  ])

  const keys = items.filter(isMessageItem).map(({ fact }) => ({
    provider: fact.provider,
    business_number: fact.business_number,
    contact_id: contactIds.get(fact.contact) ?? '',
  }))
  const { ids, found } = await placeConversations(trx, keys, memory)
  const contacts = unknown.flatMap(({ ref }, index) => {
    const resolved = looked[index]
    return resolved === undefined ? [] : { ref, resolved }
  })
  return {
    placed: items.filter(isMessageItem).map((item, index) => ({
      item,
      conversation_id: ids[index] ?? '',
      sender_contact_id: (item.fact.sender && contactIds.get(item.fact.sender)) ?? null,
    })),
    onCommit: () => memory?.remember(generation, { contacts, conversations: found }),
  }
}

async function placeConversations(
  trx: Transaction<Database>,
  keys: readonly ConversationName[],
  memory: KnownContacts | undefined,
): Promise<{ ids: string[]; found: Resolution['conversations'] }> {
  const remembered = keys.map((key) => memory?.conversation(key))
  const unknown = keys.filter((_, index) => remembered[index] === undefined)
  const looked = await resolveConversations(trx, unknown)
  const found = unknown.map((key, index) => ({ key, id: looked[index] ?? '' }))
  const rest = looked.values()
  return { ids: remembered.map((id) => id ?? rest.next().value ?? ''), found }
}

function contactRefs({ fact, event }: StoreItem): SeenContact[] {
  const received = new Date(event.received_at)
  if (fact.kind === 'message') {
    const seen_at = fact.sent_at ?? received
    const sender = fact.sender === undefined ? [] : [{ ref: fact.sender, seen_at }]
    return [{ ref: fact.contact, seen_at }, ...sender]
  }
  // A status creates no contact, but where it ties a phone number to a user id, that keeps a conversation from forking.
  if (fact.kind === 'status') {
    const { recipient } = fact
    const isTie = recipient?.phone !== undefined && recipient.user_id !== undefined
    return isTie ? [{ ref: recipient, seen_at: fact.occurred_at ?? received }] : []
  }
  return fact.kind === 'other' ? fact.contacts.map((ref) => ({ ref, seen_at: received })) : []
}

function identityChanges({ fact }: StoreItem) {
  if (fact.kind === 'other') return fact.identities
  return fact.kind === 'message' && fact.identity !== undefined ? [fact.identity] : []
}
