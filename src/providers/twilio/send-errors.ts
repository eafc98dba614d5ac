/**
 * What Twilio's errors mean for a message that was to be sent. https://www.twilio.com/docs/api/errors
 *
 * Twilio answers a request that it does not take with 4xx and a code; what happens to a message later comes as a status.
 */
import type { SendError, SendResult } from '../../core/outbound.ts'
import type { RetryReason } from '../../core/send-policy.ts'

type Verdict = { kind: 'not_sent'; reason: RetryReason } | { kind: 'failed' | 'stop_sender' | 'unknown' }

const STOP: Verdict = { kind: 'stop_sender' }

const VERDICTS: ReadonlyMap<number, Verdict> = new Map<number, Verdict>([
  // Too many requests of the account at a time.
  [20429, { kind: 'not_sent', reason: 'account_concurrency' }],
  [21611, { kind: 'not_sent', reason: 'number_queue_full' }],
  [30001, { kind: 'not_sent', reason: 'number_queue_full' }],
  // WhatsApp's own limit of the number.
  [63018, { kind: 'not_sent', reason: 'number_rate' }],
  // Credentials, account not active, account suspended.
  ...[20003, 20005, 20403, 30002].map((code): [number, Verdict] => [code, STOP]),
])

/** `body`: the answer as JSON, undefined where it was none. */
export function readTwilioError(status: number, body: unknown): SendResult {
  const error = typeof body === 'object' && body !== null ? body : {}
  const code = 'code' in error && typeof error.code === 'number' ? error.code : undefined
  const known = code === undefined ? undefined : VERDICTS.get(code)
  return { ...(known ?? verdictByStatus(status, code !== undefined)), error: describe(status, error, code) }
}

/** Without a code of Twilio's, a 4xx comes from something in between, which did not pass the message on. */
function verdictByStatus(status: number, isTwilios: boolean): Verdict {
  if (status === 429) return { kind: 'not_sent', reason: 'account_concurrency' }
  if (status === 401 || status === 403 || status === 407) return STOP
  if (status === 408 || status < 400 || status >= 500) return { kind: 'unknown' }
  return isTwilios ? { kind: 'failed' } : { kind: 'not_sent', reason: 'refused_on_the_way' }
}

function describe(status: number, error: object, code: number | undefined): SendError {
  const message = 'message' in error && typeof error.message === 'string' ? error.message : ''
  if (code === undefined)
    return { code: `http_${status}`, message: message || `HTTP ${status} without an answer of Twilio's` }
  return { code, message: message || `HTTP ${status}` }
}
