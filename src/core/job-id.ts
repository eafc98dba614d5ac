/**
 * Job ids: what the queue deduplicates by.
 *
 * BullMQ keeps a job under `<prefix>:<queue>:<job id>`, beside keys of its own: a job id `wait` or `marker` breaks the
 * queue for good, `meta` drops the message silently, `:` and all-digit ids are refused (seen with BullMQ 6.7.0;
 * test/contract/queue.contract.ts puts hostile ids on the real queues). So an id is used raw only when every part of it
 * has a form that cannot collide; anything else is hashed, under the same prefix, and deduplicates just as well.
 */
import { createHash } from 'node:crypto'

/** Meta's wamid (base64, older ones base64url) and Twilio's message SIDs. */
const WA_MESSAGE_ID = /^(?:wamid\.[A-Za-z0-9+/=_-]{1,480}|(?:SM|MM)[0-9a-fA-F]{32})$/
/** A status word, a message type: short, lower case, no separator of ours. */
const WORD = /^[a-z][a-z_]{0,40}$/
/** A participant of a group: phone digits or a business-scoped user id. */
const PARTICIPANT = /^[A-Za-z0-9]{1,20}(?:\.[A-Za-z0-9]{1,140}){0,2}$/

export function messageJobId(waMessageId: string): string {
  return WA_MESSAGE_ID.test(waMessageId) ? waMessageId : hashed('message', [waMessageId])
}

export function statusJobId(waMessageId: string, status: string, participant = ''): string {
  const isHarmless =
    WA_MESSAGE_ID.test(waMessageId) &&
    WORD.test(status) &&
    (participant === '' || PARTICIPANT.test(participant))
  if (!isHarmless) return hashed('status', [waMessageId, status, participant])
  return participant === ''
    ? `status.${status}.${waMessageId}`
    : `status.${status}.${waMessageId}.${participant}`
}

export function echoJobId(waMessageId: string): string {
  return WA_MESSAGE_ID.test(waMessageId) ? `echo.${waMessageId}` : hashed('echo', [waMessageId])
}

export function historyJobId(waMessageId: string, type: string): string {
  return WA_MESSAGE_ID.test(waMessageId) && WORD.test(type)
    ? `history.${waMessageId}.${type}`
    : hashed('history', [waMessageId, type])
}

/** `messageId`: our id, digits. */
export function sendJobId(messageId: string): string {
  return `send.${messageId}`
}

/** The receipt of a conversation. */
export function readReceiptJobId(conversationId: string): string {
  return `receipt.${conversationId}`
}

/** For everything without an id of its own: the same content is the same event. */
export function contentJobId(parts: readonly string[]): string {
  return hashed('event', parts)
}

/**
 * Lengths go into the hash, so that ['ab', 'c'] and ['a', 'bc'] differ. UTF-8 has no lone surrogates, all of them would
 * become U+FFFD: a part with one goes in as its JSON text.
 */
function hashed(kind: string, parts: readonly string[]): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    if (part.isWellFormed()) hash.update(`${Buffer.byteLength(part)}:`).update(part)
    else hash.update(`json ${JSON.stringify(part)}`)
  }
  return `${kind}.${hash.digest('hex')}`
}
