/**
 * The event: one normalised fact in a webhook, and the whole content of one job on the queue `inbound`.
 *
 * `payload` and `context` are JSON *text*, not objects: numbers beyond 2^53, U+0000 and lone surrogates pass through
 * Redis, through the jsonb column of BullMQ's PostgreSQL backend and into the worker unchanged, because inside a
 * JSON string they are plain escapes. The receiver parses a body once; only the worker looks inside an item again.
 */

/** Version of the job format. A worker that meets another version leaves the job for one that knows it. */
export const EVENT_VERSION = 1

/** Longest `wa_message_id` taken as an id, in bytes. The longest that Meta's format can make is about 250. */
export const MAX_WA_MESSAGE_ID_BYTES = 512

/** Longest status word that is one; the longest known has 19 letters. */
export const MAX_STATUS_BYTES = 128

/** Longest participant of a group taken as one: a phone number or a user id, 135 characters at most. */
export const MAX_PARTICIPANT_BYTES = 512

/** One of the names in src/providers/index.ts; rows of the database may have the name of a provider that is gone. */
export type ProviderName = string

/**
 * - `message`, `status`, `echo` (sent from the phone app), `history` (synchronised from the phone app)
 * - `other`: everything a provider sends that is none of these
 * - `unreadable`: a signed body that is not what the provider documents; `payload` is the body in base64
 */
export type EventKind = 'message' | 'status' | 'echo' | 'history' | 'other' | 'unreadable'

export type WebhookEvent = {
  v: typeof EVENT_VERSION
  kind: EventKind
  provider: ProviderName
  /** When the webhook arrived, in milliseconds since 1970. */
  received_at: number
  /** Present on message, status, echo and history unless `park` says why not. */
  wa_message_id?: string
  /** Meta: WhatsApp business account (WABA) id. Twilio: AccountSid. */
  account?: string
  /** Meta: phone_number_id. Twilio: our address, digits only. */
  business_number?: string
  /** Meta: the `field` of the change. Twilio: `inbound` or `status`. */
  field?: string
  /** JSON text of what stands around the item and is needed to understand it: contact, thread, entry time … */
  context?: string
  /** JSON text of the provider's own object; base64 of the body for `unreadable`. */
  payload: string
  /** Set by the receiver: this item cannot be stored as what it claims to be, for this reason. */
  park?: string
}

/** An event with the id under which the queue and `webhook_events.event_key` know it. */
export type InboundJob = { job_id: string; event: WebhookEvent }
