/**
 * Contacts and conversations that this process resolved lately, so that the next message of a frequent writer needs no
 * look-up.
 *
 * A cached contact means: this ref, exactly as it came, resolves to this contact and changes no stored row, as long as it is
 * seen within the entry's validity. A merge of contacts, or an identifier that goes to another contact, breaks that. The
 * transaction that does either takes the exclusive merge lock (merge-lock.ts) and advances the epoch; a reader gets the epoch with the shared
 * lock and drops every entry of an earlier epoch. A name that another process stored is noticed when the entry expires.
 */
import type { ContactRef } from '../../core/fact.ts'
import type { ConversationKey } from './conversations.ts'

/** Milliseconds since 1970, both ends included. */
export type TimeSpan = { from: number; to: number }

/** The contact that a ref stands for. */
export type ResolvedContact = {
  id: string
  /** Seen within this span, the same ref changes nothing. Undefined: the ref cannot be cached. */
  validity?: TimeSpan
  /** This resolution changed the stored name, username or phone. */
  hasProfileChange: boolean
}

export type ContactCache = {
  /** Drops the entries of another epoch. Call it first, while the shared merge lock is held. */
  enter(epoch: string): void
  /** The id of the contact, or undefined when it has to be looked up. `seenAt`: milliseconds since 1970. */
  findContact(ref: ContactRef, seenAt: number): string | undefined
  findConversation(key: ConversationKey): string | undefined
  /** Adds what was read in this epoch. Call it after the commit; of another epoch than the present one it stores nothing. */
  store(epoch: string, entries: CacheEntries): void
  isEmpty(): boolean
  /** For after an error: rows may have been deleted, or another server may have taken over. */
  clear(): void
}

export type CacheEntries = {
  contacts: readonly { ref: ContactRef; resolved: ResolvedContact }[]
  conversations: readonly { key: ConversationKey; id: string }[]
}

type ContactEntry = { id: string; validity: TimeSpan; expiresAt: number }

/** For contacts and for conversations each. */
const MAX_ENTRIES = 10_000
const LIFETIME_MS = 60_000
/** In characters of JSON; a longer ref is looked up each time. */
const MAX_REF_LENGTH = 1_000

export function createContactCache(now: () => number = Date.now): ContactCache {
  const contacts = new Map<string, ContactEntry>()
  const conversations = new Map<string, { id: string; expiresAt: number }>()
  let currentEpoch: string | undefined

  function clear(): void {
    contacts.clear()
    conversations.clear()
    currentEpoch = undefined
  }

  function evictContact(id: string): void {
    for (const [key, entry] of contacts) if (entry.id === id) contacts.delete(key)
  }

  return {
    enter: (epoch) => {
      if (epoch === currentEpoch) return
      clear()
      currentEpoch = epoch
    },
    findContact: (ref, seenAt) => {
      const entry = contacts.get(refKey(ref))
      if (entry === undefined || entry.expiresAt < now()) return undefined
      return entry.validity.from <= seenAt && seenAt <= entry.validity.to ? entry.id : undefined
    },
    findConversation: (key) => {
      const entry = conversations.get(conversationKeyText(key))
      return entry !== undefined && entry.expiresAt >= now() ? entry.id : undefined
    },
    store: (epoch, entries) => {
      if (epoch !== currentEpoch) return
      const expiresAt = now() + LIFETIME_MS
      for (const { resolved } of entries.contacts) if (resolved.hasProfileChange) evictContact(resolved.id)
      for (const { ref, resolved } of entries.contacts) {
        const key = refKey(ref)
        if (resolved.validity === undefined || key.length > MAX_REF_LENGTH) continue
        put(contacts, key, { id: resolved.id, validity: resolved.validity, expiresAt })
      }
      for (const { key, id } of entries.conversations)
        put(conversations, conversationKeyText(key), { id, expiresAt })
    },
    isEmpty: () => contacts.size === 0 && conversations.size === 0,
    clear,
  }
}

/** Evicts the entry that was stored first when the map is full. */
function put<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.size > MAX_ENTRIES ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
}

function refKey(ref: ContactRef): string {
  return JSON.stringify(ref)
}

function conversationKeyText({ provider, business_number, contact_id }: ConversationKey): string {
  return JSON.stringify([provider, business_number, contact_id])
}
