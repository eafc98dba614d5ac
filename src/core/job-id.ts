/**
 * Job ids: what the queue deduplicates by.
 *
 * BullMQ keeps a job under `<prefix>:<queue>:<job id>`, beside keys of its own: a job id `wait` or `marker` breaks the
 * queue for good, `meta` drops the message silently, `:` and all-digit ids are refused (seen with BullMQ 6.7.0;
 * test/contract/queue.contract.ts puts hostile ids on the real queues). So an id is used raw only when every part of it
 * has a form that cannot collide; anything else is hashed, under the same prefix, and deduplicates just as well.
 */
import { createHash } from 'node:crypto'

/** A status word, a message type: short, lower case, no separator of ours. */
const WORD = /^[a-z][a-z_]{0,40}$/
/** A participant of a group: phone digits or a business-scoped user id. */
const PARTICIPANT = /^[A-Za-z0-9]{1,20}(?:\.[A-Za-z0-9]{1,140}){0,2}$/

/** The ids of jobs that are about a message of one provider. */
export type JobIds = {
  message(waMessageId: string): string
  /** `participant`: of a group; '' elsewhere. */
  status(waMessageId: string, status: string, participant?: string): string
  echo(waMessageId: string): string
  /** A message or echo of a conversation that another app holds. */
  standby(waMessageId: string): string
  history(waMessageId: string, type: string): string
}

/**
 * @param plainId regular expression of message ids that are harmless by themselves and between dots: no colon, longer than
 * any key of BullMQ or with a character that none of them has, and not of digits alone.
 */
export function createJobIds(plainId: string): JobIds {
  const pattern = new RegExp(`^(?:${plainId})$`)
  const isPlain = (id: string) => pattern.test(id)
  return {
    message: (id) => (isPlain(id) ? id : hashed('message', [id])),
    status: (id, status, participant = '') => {
      const isHarmless =
        isPlain(id) && WORD.test(status) && (participant === '' || PARTICIPANT.test(participant))
      if (!isHarmless) return hashed('status', [id, status, participant])
      return participant === '' ? `status.${status}.${id}` : `status.${status}.${id}.${participant}`
    },
    echo: (id) => (isPlain(id) ? `echo.${id}` : hashed('echo', [id])),
    standby: (id) => (isPlain(id) ? `standby.${id}` : hashed('standby', [id])),
    history: (id, type) =>
      isPlain(id) && WORD.test(type) ? `history.${id}.${type}` : hashed('history', [id, type]),
  }
}

/** `messageId`: our id, digits. */
export function sendJobId(messageId: string): string {
  return `send.${messageId}`
}

/** The receipt of a conversation. */
export function readReceiptJobId(conversationId: string): string {
  return `receipt.${conversationId}`
}

/**
 * Stands in the id that an event gets on the queue when another business number's event has its own id already:
 * `<id><mark><sha1 of the number>`. No id has it otherwise: an id is used raw only as a provider makes it, or is a hash.
 */
export const OTHER_NUMBER_MARK = '.number-'

/** On the queue, for an event whose id is taken by an event of another business number. */
export function otherNumberJobId(jobId: string, businessNumber: string): string {
  const digest = createHash('sha1').update(JSON.stringify(businessNumber)).digest('hex')
  return `${jobId}${OTHER_NUMBER_MARK}${digest}`
}

/** The event's own id. Without it, the same event would have one key here and another one on the direct path. */
export function ownJobId(jobId: string): string {
  const at = jobId.indexOf(OTHER_NUMBER_MARK)
  return at === -1 ? jobId : jobId.slice(0, at)
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
