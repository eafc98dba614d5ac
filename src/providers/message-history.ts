/** Reads a provider's list of messages, for the back-fill of those that never arrived as webhooks. */
import type { ContactRef, MessageFact } from '../core/fact.ts'

export type MessageHistory = {
  /** The provider's id of the account whose messages these are. */
  account: string
  /**
   * A page of one day (GMT, `YYYY-MM-DD`), newest first; `cursor` is the `next` of the page before. Tries again by itself
   * where that can help. @throws HistoryError
   */
  readPage(request: { day: string; cursor?: string | undefined }, signal: AbortSignal): Promise<HistoryPage>
  /** Content and files of a message. @throws HistoryError */
  readContent(
    message: ListedMessage,
    signal: AbortSignal,
  ): Promise<Pick<MessageFact, 'message_type' | 'content' | 'media'>>
}

export type HistoryPage = {
  /** WhatsApp messages that were received or sent. */
  messages: ListedMessage[]
  /** Entries of other channels (SMS), which are left alone. */
  otherChannels: number
  /** Entries that were not sent, or not yet. */
  unsent: number
  /** The latest time on the page by which the list is in order; absent: no entry has one. */
  newest?: Date
  next?: string
  /** The provider's clock. */
  date?: Date
}

export type ListedMessage = {
  wa_message_id: string
  direction: 'inbound' | 'outbound'
  account?: string
  business_number: string
  /** The messaging service that chose the number. */
  service?: string
  /** The other side. */
  contact: ContactRef
  text?: string
  files: number
  /** Outbound only. */
  status?: string
  /** JSON text of the provider's errors. */
  errors?: string
  created_at: Date
  /** By which the list is in order; absent where the provider has not said so yet. */
  sent_at?: Date
  updated_at?: Date
  /** The provider's own object, as JSON text. */
  payload: string
}

/**
 * - `credentials`: refused; the operator has to change them
 * - `rate_limit`, `unreachable`: passes by itself
 * - `unexpected`: the answer is not the list
 */
export type HistoryErrorKind = 'credentials' | 'rate_limit' | 'unreachable' | 'unexpected'

/** The list could not be read. The message says what to do. */
export class HistoryError extends Error {
  override name = 'HistoryError'
  kind: HistoryErrorKind

  constructor(kind: HistoryErrorKind, message: string) {
    super(message)
    this.kind = kind
  }
}
