/**
 * Outbound messages in the project's own form: the API writes it, the database keeps it, a provider translates it last.
 */
import type { ProviderName } from './event.ts'
import type { RetryReason } from './send-policy.ts'

export const OUTBOUND_MEDIA_TYPES = ['image', 'video', 'audio', 'document', 'sticker'] as const
export type OutboundMediaType = (typeof OUTBOUND_MEDIA_TYPES)[number]

/** One of `url` (the provider fetches it), `id` (the provider's id of a file that it has; Meta) and `upload_id`. */
export type OutboundMedia = {
  url?: string | undefined
  id?: string | undefined
  /** A row of `uploads`. */
  upload_id?: string | undefined
  caption?: string | undefined
  /** Documents only. */
  filename?: string | undefined
  mime_type?: string | undefined
  /** Audio only: shown as a voice message. */
  voice?: boolean | undefined
}

/** A file that a user stored here to send it. */
export type Upload = {
  /** A random UUID; also the name of the file. */
  id: string
  mime_type: string
  size_bytes: number
  /** Hex. */
  sha256: string
  filename: string | null
}

export type OutboundTemplate = {
  /** Meta: name and language of an approved template, `components` as Meta documents them. */
  name?: string | undefined
  language?: string | undefined
  components?: readonly unknown[] | undefined
  /** Twilio: an approved content template (`HX…`) and its variables. */
  content_sid?: string | undefined
  variables?: Readonly<Record<string, string>> | undefined
}

export type OutboundContent =
  | { type: 'text'; text: string; preview_url?: boolean | undefined }
  | { type: OutboundMediaType; media: OutboundMedia }
  | { type: 'template'; template: OutboundTemplate }
  /** `emoji` '' removes the reaction. `message_id`: our id of the message reacted to. */
  | { type: 'reaction'; reaction: { message_id: string; emoji: string } }

/** One of the three. `phone`: digits with country code. */
export type Recipient = {
  phone?: string | undefined
  user_id?: string | undefined
  group_id?: string | undefined
}

/** One of `to` and `conversation_id`. Ids are those of `chat_messages` and `conversations`. */
export type OutboundRequest = OutboundContent & {
  /** Absent: that of the conversation, or of the contact's latest one. It has to match a given `conversation_id`. */
  provider?: ProviderName | undefined
  to?: Recipient | undefined
  conversation_id?: string | undefined
  reply_to_message_id?: string | undefined
}

/** A message as a provider gets it: the content with everything that the call needs. */
export type OutboundMessage = {
  /** Our id. */
  message_id: string
  provider: ProviderName
  /** Meta: phone_number_id. Twilio: digits, or a messaging service. */
  business_number: string
  recipient: Recipient
  /** The provider returns it in statuses, also when its response to the send was lost. */
  callback_id: string
  content: OutboundContent
  reply_to_wa_message_id?: string
  /** Reactions only. */
  target_wa_message_id?: string
  /** Media with an `upload_id` only. For providers that want copies, `media.id` is set too. */
  upload?: Upload
}

/** Whether this business number is a service of the provider that chooses the number for each message. */
export type ChoosesNumber = (provider: ProviderName, businessNumber: string) => boolean

export type ReadReceipt = { provider: ProviderName; business_number: string; wa_message_id: string }

/** An entry of `chat_messages.error`, in the form of Meta's errors. */
export type SendError = { code: number | string; message: string; details?: string }

/** How copying a file to the provider ended. It sends nothing to the contact, so it can always be tried again. */
export type CopyResult =
  | { kind: 'copied'; media_id: string }
  | Extract<SendResult, { kind: 'not_sent' | 'failed' | 'stop_sender' }>

/**
 * How a call ended. The providers have no idempotency key, so one question decides: can the message have gone out? Only
 * `not_sent` is tried again.
 *
 * - `accepted`: the provider has the message, under this id. `isNumberChosen`: it sends it from a number that it chooses
 * - `not_sent`: certainly not sent, and worth another try. What waits for how long follows from `reason` (send-policy.ts)
 * - `failed`: certainly not sent, and another try would end the same
 * - `stop_sender`: certainly not sent, because the sender may not send at all (token, permission, payment)
 * - `unknown`: the message may have been sent. `isCutOff`: this process ended the call, which says nothing about the provider
 */
export type SendResult =
  | { kind: 'accepted'; wa_message_id: string; isNumberChosen?: boolean }
  | { kind: 'not_sent'; reason: RetryReason; error: SendError }
  | { kind: 'failed'; error: SendError }
  | { kind: 'stop_sender'; error: SendError }
  | { kind: 'unknown'; error: SendError; isCutOff?: boolean }
