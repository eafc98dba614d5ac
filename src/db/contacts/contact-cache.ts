/**
 * Contacts and conversations that this process has just resolved, so that the next message of somebody who writes a lot
 * needs no look-up.
 *
 * An entry says that a ref, exactly as it came, changes nothing that is stored about its contact while it is seen within a
 * span of time. It is wrong once contacts have been merged or an identifier has changed hands: those who do so hold the
 * lock of contact-lock.ts alone and move a sequence, which everybody else reads behind the same lock, so that nothing
 * remembered from before is used after. What another process learns about a name in the meantime is noticed when the entry
 * is a minute old.
 */
import type { ContactRef } from '../../core/fact.ts'

/** In milliseconds since 1970, both included. */
export type TimeSpan = { from: number; to: number }

/** A contact that a ref has been resolved to. */
export type ResolvedContact = {
  id: string
  /** Seen within this time, the same ref changes nothing; undefined where it cannot be told. */
  steady?: TimeSpan
  /** Name, username or phone have just changed. */
  isNews: boolean
}

export type KnownContacts = {
  /** To be called behind the lock, before anything else: what is remembered of another generation is forgotten. */
  enter(generation: string): void
  contact(ref: ContactRef, seenAt: number): string | undefined
  conversation(key: ConversationName): string | undefined
  /** Only what is committed, and was read in this generation. */
  remember(generation: string, seen: Resolution): void
  isEmpty(): boolean
  /** After every error: rows can have been deleted, and another server can have taken over. */
  clear(): void
}

export type ConversationName = { provider: string; business_number: string; contact_id: string }

export type Resolution = {
  contacts: readonly { ref: ContactRef; resolved: ResolvedContact }[]
  conversations: readonly { key: ConversationName; id: string }[]
}

type Entry = { id: string; span: TimeSpan; expiresAt: number }

const MAX_ENTRIES = 10_000
const LIFETIME_MS = 60_000
/** In characters; whoever has more to say of himself is looked up. */
const MAX_REF_LENGTH = 1_000

export function createKnownContacts(now: () => number = Date.now): KnownContacts {
  const contacts = new Map<string, Entry>()
  const conversations = new Map<string, { id: string; expiresAt: number }>()
  let current: string | undefined

  function clear(): void {
    contacts.clear()
    conversations.clear()
    current = undefined
  }

  function forgetContact(id: string): void {
    for (const [text, entry] of contacts) if (entry.id === id) contacts.delete(text)
  }

  return {
    enter: (generation) => {
      if (generation === current) return
      clear()
      current = generation
    },
    contact: (ref, seenAt) => {
      const entry = contacts.get(textOf(ref))
      if (entry === undefined || entry.expiresAt < now()) return undefined
      return entry.span.from <= seenAt && seenAt <= entry.span.to ? entry.id : undefined
    },
    conversation: (key) => {
      const entry = conversations.get(conversationText(key))
      return entry !== undefined && entry.expiresAt >= now() ? entry.id : undefined
    },
    remember: (generation, seen) => {
      if (generation !== current) return
      const expiresAt = now() + LIFETIME_MS
      for (const { resolved } of seen.contacts) if (resolved.isNews) forgetContact(resolved.id)
      for (const { ref, resolved } of seen.contacts) {
        const text = textOf(ref)
        if (resolved.steady === undefined || text.length > MAX_REF_LENGTH) continue
        put(contacts, text, { id: resolved.id, span: resolved.steady, expiresAt })
      }
      for (const { key, id } of seen.conversations)
        put(conversations, conversationText(key), { id, expiresAt })
    },
    isEmpty: () => contacts.size === 0 && conversations.size === 0,
    clear,
  }
}

/** What was put in first goes first. */
function put<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.size > MAX_ENTRIES ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
}

function textOf(ref: ContactRef): string {
  return JSON.stringify(ref)
}

function conversationText({ provider, business_number, contact_id }: ConversationName): string {
  return JSON.stringify([provider, business_number, contact_id])
}
