/**
 * Facts: what a worker stores of an event, in the project's own words. A provider's `normalize` makes them, the batch
 * writer writes them; neither knows the other.
 */
import type { ProviderName } from './event.ts'

/**
 * Whoever a message is from or to, by everything that identifies them; at least one identifier is set, unless the
 * provider sent none at all. A group is a contact too, identified by `group_id` alone.
 */
export type ContactRef = {
  /** Digits with country code, as the provider wrote them. */
  phone?: string
  user_id?: string
  parent_user_id?: string
  group_id?: string
  name?: string
  username?: string
}

/** Where a row comes from. A webhook knows more than a back-fill: see `detailOf`. */
export type MessageSource = 'webhook' | 'echo' | 'history' | 'backfill' | 'api'

const SOURCE_RANKS = { backfill: 1, history: 2, echo: 3, webhook: 4, api: 5 } as const

/**
 * How much a copy of a message knows. A copy with a higher number replaces the content of one with a lower number
 * (outcome `merged`), never the other way: content over placeholder first, then webhook over back-fill.
 */
export function detailOf(source: MessageSource, isPlaceholder: boolean): number {
  return (isPlaceholder ? 0 : 10) + SOURCE_RANKS[source]
}

export type MediaFact = {
  id?: string
  url?: string
  mime_type?: string
  sha256?: string
  filename?: string
  voice?: boolean
}

/**
 * Types of messages that act on another one, their target: they change how it is shown. They are rows of their own, but no
 * items of a conversation, and never unread.
 */
export const EFFECT_TYPES = ['reaction', 'edit', 'revoke'] as const
export type EffectType = (typeof EFFECT_TYPES)[number]

export type MessageFact = {
  kind: 'message'
  provider: ProviderName
  account?: string
  business_number: string
  direction: 'inbound' | 'outbound'
  source: MessageSource
  /** A stand-in whose content comes later under the same id (`media_placeholder` of the history). */
  is_placeholder: boolean
  wa_message_id: string
  /** What we gave the provider at sending, where it came back. */
  callback_id?: string
  /** The other side of the conversation: a person, or the group. */
  contact: ContactRef
  /** Inside a group: the participant that wrote it. */
  sender?: ContactRef
  message_type: string
  content?: string
  reply_to_wa_message_id?: string
  /** What a reaction, edit or revoke points at. */
  target_wa_message_id?: string
  forwarded: boolean
  frequently_forwarded: boolean
  /** JSON text. */
  referral?: string
  media: MediaFact[]
  /** Outbound only: the status that the event itself states (an echo is `sent`). */
  status?: string
  /** JSON text of the provider's errors. */
  error?: string
  /** The provider's time. */
  sent_at?: Date
  /** What the message says of identities (`system` messages). */
  identity?: IdentityChange
}

export type StatusFact = {
  kind: 'status'
  provider: ProviderName
  account?: string
  business_number: string
  wa_message_id: string
  status: string
  /** Filled only in groups. */
  participant: string
  callback_id?: string
  recipient?: ContactRef
  occurred_at?: Date
  /** JSON texts. */
  errors?: string
  pricing?: string
  conversation?: string
}

/** One person, two identifiers: the contact known as `from` is from now on known as `to`. */
export type IdentityChange = { from: ContactRef; to: ContactRef; changed_at: Date }

/** Kept whole in `webhook_events`; may still say something of identities or names. */
export type OtherFact = { kind: 'other'; identities: IdentityChange[]; contacts: ContactRef[] }

/** Cannot be understood, or cannot be stored as what it claims to be. */
export type ParkedFact = { kind: 'parked'; reason: string }

export type Fact = MessageFact | StatusFact | OtherFact | ParkedFact
