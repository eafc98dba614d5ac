/** What is to be sent, in the project's own words: written by the API, carried by the database, put into a provider's form last. */
import type { ProviderName } from './event.ts'
import type { RetryReason } from './send-policy.ts'

export const OUTBOUND_MEDIA_TYPES = ['image', 'video', 'audio', 'document', 'sticker'] as const
export type OutboundMediaType = (typeof OUTBOUND_MEDIA_TYPES)[number]

/** One of `url`, which the provider fetches, `id`, the provider's own of a file that it has (Meta), and `upload_id`. */
export type OutboundMedia = {
  url?: string | undefined
  id?: string | undefined
  /** Of `uploads`. */
  upload_id?: string | undefined
  caption?: string | undefined
  /** Documents. */
  filename?: string | undefined
  mime_type?: string | undefined
  /** Audio: shown as a voice message. */
  voice?: boolean | undefined
}

/** A file that was uploaded here. */
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
  /** `emoji` '' takes the reaction back. `message_id`: our id of the message reacted to. */
  | { type: 'reaction'; reaction: { message_id: string; emoji: string } }

/** One of them. `phone`: digits with country code. */
export type Recipient = {
  phone?: string | undefined
  user_id?: string | undefined
  group_id?: string | undefined
}

/** One of `to` and `conversation_id`. Ids are those of `chat_messages` and `conversations`. */
export type OutboundRequest = OutboundContent & {
  /** Where it does not follow from the conversation. */
  provider?: ProviderName | undefined
  to?: Recipient | undefined
  conversation_id?: string | undefined
  reply_to_message_id?: string | undefined
}

/** A message on its way out: the content with everything that the provider needs to know. */
export type OutboundMessage = {
  /** Ours. */
  message_id: string
  provider: ProviderName
  /** Meta: phone_number_id. Twilio: digits, or a messaging service. */
  business_number: string
  recipient: Recipient
  /** Comes back in statuses, also where the response to the send was lost. */
  callback_id: string
  content: OutboundContent
  reply_to_wa_message_id?: string
  /** Of a reaction. */
  target_wa_message_id?: string
  /** Of media with an `upload_id`. Where the provider wants files beforehand, `media.id` is there too. */
  upload?: Upload
}

/** Whether this business number is a service of the provider that chooses the number for each message. */
export type ChoosesNumber = (provider: ProviderName, businessNumber: string) => boolean

export type ReadReceipt = { provider: ProviderName; business_number: string; wa_message_id: string }

/** An entry of `chat_messages.error`, in the form of Meta's errors. */
export type SendError = { code: number | string; message: string; details?: string }

/** How giving a file to a provider ended. That sends nothing to anybody, so it can always be tried again. */
export type CopyResult =
  | { kind: 'copied'; media_id: string }
  | Extract<SendResult, { kind: 'not_sent' | 'failed' | 'stop_sender' }>

/**
 * How a call ended. Neither provider has an idempotency key, so everything turns on one question: can the message have
 * gone out? Only `not_sent` may be tried again.
 *
 * - `accepted`: the provider has it, under this id. `isNumberChosen`: it goes out from a number that the provider chooses
 * - `not_sent`: certainly not sent, and worth another try. What waits for how long follows from `reason` (send-policy.ts)
 * - `failed`: certainly not sent, and another try would end the same
 * - `stop_sender`: certainly not sent, because the sender may not send at all (token, permission, payment)
 * - `unknown`: it may have been sent
 */
export type SendResult =
  | { kind: 'accepted'; wa_message_id: string; isNumberChosen?: boolean }
  | { kind: 'not_sent'; reason: RetryReason; error: SendError }
  | { kind: 'failed'; error: SendError }
  | { kind: 'stop_sender'; error: SendError }
  | { kind: 'unknown'; error: SendError }
