/**
 * Sending through a provider. Each function makes one call and never repeats it: the result says whether another call may
 * follow, and the database counts them.
 */
import type { JobIds } from '../core/job-id.ts'
import type {
  CopyResult,
  OutboundMessage,
  ReadReceipt,
  Recipient,
  SendError,
  SendResult,
} from '../core/outbound.ts'
import type { ProviderAnswer } from './call.ts'
import type { MessageHistory } from './message-history.ts'

export type Sender = {
  /** Changes with the credentials: a circuit breaker that opened because they were refused closes when it changes. */
  credentialDigest: string
  /** For jobs about messages that this sender finds in the provider's lists. */
  jobIds: JobIds
  /** Never throws. */
  send(message: OutboundMessage, signal: AbortSignal): Promise<SendResult>
  /**
   * Absent: the provider fetches uploads at sending, by a link. Else it wants them before, and the message then names its
   * `media_id`. Never throws; doing it twice does no harm.
   */
  copyFile?: (file: FileToCopy, signal: AbortSignal) => Promise<CopyResult>
  /** Absent: the provider has no read receipts. Never throws; sending a receipt twice does no harm. */
  markRead?: (receipt: ReadReceipt, signal: AbortSignal) => Promise<ReceiptResult>
  /** Absent: the provider has no list of sent messages. Never throws; undefined when the list could not be read. */
  findSent?: (query: SentQuery, signal: AbortSignal) => Promise<SentMessage[] | undefined>
  /** Absent: the provider has no list of its messages, or redelivers webhooks by itself. */
  history?: MessageHistory
}

/** `content`: read from disk while it is sent; its type is that of the file. */
export type FileToCopy = { business_number: string; content: Blob; filename: string }

/** `retry`: also where it is unknown whether the receipt arrived. */
export type ReceiptResult = { kind: 'done' } | { kind: 'retry' | 'failed'; error: SendError }

/** Selects texts from our number to this recipient, sent between `after` and `before`. */
export type SentQuery = {
  business_number: string
  recipient: Recipient
  text: string
  after: Date
  before: Date
}

/** `payload`: the provider's own object, as JSON text. */
export type SentMessage = {
  wa_message_id: string
  status: string
  business_number: string
  account?: string
  errors?: string
  payload: string
}

/** The result of a call without an answer. */
export function unanswered(answer: ProviderAnswer & { kind: 'not_connected' | 'lost' }): SendResult {
  const error = { code: answer.code, message: answer.message }
  return answer.kind === 'lost'
    ? { kind: 'unknown', error }
    : { kind: 'not_sent', reason: 'unreachable', error }
}
