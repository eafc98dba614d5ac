/**
 * Facts: the content of an event in the project's own form. A provider's `normalize` makes a fact from an event, the batch
 * writer stores it; neither knows the other.
 */
import type { ProviderName } from './event.ts'

/**
 * The sender or recipient of a message with all identifiers that the provider sent; it may have sent none. A group is a
 * contact too, identified by `group_id` alone.
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

/**
 * How a message came here. A webhook has more data than a back-fill: see `detailOf`. `standby`: from a conversation that
 * another app holds, either what the contact wrote or what that app (Meta Business Agent, say) answered.
 */
export type MessageSource = 'webhook' | 'echo' | 'standby' | 'history' | 'backfill' | 'api'

/** Below `echo` and `webhook`: a copy from one of those says that the message is ours to answer, or whose answer it is. */
const SOURCE_RANKS = { backfill: 1, history: 2, standby: 2, echo: 3, webhook: 4, api: 5 } as const

/**
 * Rank of a copy of a message by the data that it has. A copy with a higher rank replaces the content of a stored one
 * (outcome `merged`): content before placeholder, then webhook before back-fill.
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
  /** The content comes later, in a message with the same id (`media_placeholder` of the history). */
  is_placeholder: boolean
  wa_message_id: string
  /** The callback_id of the send, if the provider returned it. */
  callback_id?: string
  /** The person or group of the conversation. */
  contact: ContactRef
  /** In a group: the participant who wrote the message. */
  sender?: ContactRef
  message_type: string
  content?: string
  reply_to_wa_message_id?: string
  /** Of EFFECT_TYPES: the message that it acts on. */
  target_wa_message_id?: string
  forwarded: boolean
  frequently_forwarded: boolean
  /** JSON text. */
  referral?: string
  media: MediaFact[]
  /** Outbound only: the status that the event implies (an echo is `sent`). */
  status?: string
  /** JSON text of the provider's errors. */
  error?: string
  /** The provider's time. */
  sent_at?: Date
  /** The identity change that a `system` message reports. */
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

/** From `changed_at` on, the contact known as `from` is known as `to`. */
export type IdentityChange = { from: ContactRef; to: ContactRef; changed_at: Date }

/** Which app answers in a conversation: this one, or another one on the same number. */
export type ControlHolder = 'self' | 'other'

/** From `at` on (the provider's time), `holder` has control of the conversation with `contact`. */
export type ControlChange = {
  contact: ContactRef
  business_number: string
  holder: ControlHolder
  /** The holder's role in the provider's words. */
  role?: string
  at: Date
}

/** Stored whole in `webhook_events`; what it says of identities, names of contacts and control is applied too. */
export type OtherFact = {
  kind: 'other'
  identities: IdentityChange[]
  contacts: ContactRef[]
  control?: ControlChange
}

/** Cannot be understood, or cannot be stored as the message or status that it claims to be. */
export type ParkedFact = { kind: 'parked'; reason: string }

export type Fact = MessageFact | StatusFact | OtherFact | ParkedFact
