/**
 * The event: one normalised fact in a webhook, and the whole content of one job on the queue `inbound`.
 *
 * `payload` and `context` are JSON *text*, not objects: numbers beyond 2^53, U+0000 and lone surrogates pass through
 * Redis, through the jsonb column of BullMQ's PostgreSQL backend and into the worker unchanged, because inside a
 * JSON string they are plain escapes. The receiver parses a body once; only the worker looks inside an item again.
 */

/** Version of the job format. A worker leaves jobs of another version to a worker that knows it. */
export const EVENT_VERSION = 1

/** Longest accepted `wa_message_id` in bytes. The longest that Meta's format allows is about 250. */
export const MAX_WA_MESSAGE_ID_BYTES = 512

/** Longest accepted status word in bytes; the longest known one has 19 letters. */
export const MAX_STATUS_BYTES = 128

/** Longest accepted participant of a group in bytes: a phone number or a user id, documented up to 135 characters. */
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
  /** Present on message, status, echo and history, unless the item is parked for want of it. */
  wa_message_id?: string
  /** Meta: WhatsApp business account (WABA) id. Twilio: AccountSid. */
  account?: string
  /** Meta: phone_number_id. Twilio: our address, digits only. */
  business_number?: string
  /** Meta: the `field` of the change. Twilio: `inbound` or `status`. */
  field?: string
  /** JSON text of data around the item that belongs to it: contact, thread, entry time … */
  context?: string
  /** JSON text of the provider's own object; base64 of the body for `unreadable`. */
  payload: string
  /** Set by the receiver: why this item cannot be stored as a message or a status. */
  park?: string
}

/** An event with its id on the queue, which is also `webhook_events.event_key`. */
export type InboundJob = { job_id: string; event: WebhookEvent }

/** How a job ends. After `retry` the event is still on the queue. */
export type Outcome = 'stored' | 'duplicate' | 'merged' | 'parked' | 'retry'

/** An outcome after which the job is done. */
export type FinalOutcome = Exclude<Outcome, 'retry'>
