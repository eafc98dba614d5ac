/**
 * What Meta's errors mean for a message that was to be sent.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
 *
 * The code counts, not the HTTP status. A code that is not in the table was refused for good when the status is 4xx; with
 * any other status the message may have been sent.
 */
import type { SendError, SendResult } from '../../core/outbound.ts'
import type { RetryReason } from '../../core/send-policy.ts'
import { isObject, type JsonObject, object, scalar, text } from './json-reader.ts'

type Verdict = { kind: 'not_sent'; reason: RetryReason } | { kind: 'failed' | 'stop_sender' | 'unknown' }

const STOP: Verdict = { kind: 'stop_sender' }
const UNKNOWN: Verdict = { kind: 'unknown' }

const VERDICTS: ReadonlyMap<number, Verdict> = new Map<number, Verdict>([
  // The app's call rate, and the business account's.
  [4, { kind: 'not_sent', reason: 'account_rate' }],
  [80007, { kind: 'not_sent', reason: 'account_rate' }],
  [130429, { kind: 'not_sent', reason: 'number_rate' }],
  [131048, { kind: 'not_sent', reason: 'spam_suspicion' }],
  // Too many templates in a wrong category. Meta lifts the limit by itself, and does not say when.
  [131064, { kind: 'not_sent', reason: 'account_limit' }],
  [131056, { kind: 'not_sent', reason: 'recipient_rate' }],
  [131057, { kind: 'not_sent', reason: 'number_upgrade' }],
  // "Temporary" and "something went wrong" do not say whether it went wrong before the message was on its way.
  ...[2, 131000, 131016, 133004].map((code): [number, Verdict] => [code, UNKNOWN]),
  // Token, permission, account, payment.
  ...[0, 3, 10, 190, 368, 131005, 131031, 131042].map((code): [number, Verdict] => [code, STOP]),
])

/** Permissions: 200 to 299. */
const PERMISSION_CODES = { first: 200, last: 299 }

/** `body`: the answer as JSON, undefined where it was none. */
export function readMetaError(status: number, body: unknown): SendResult {
  const error = isObject(body) && isObject(body.error) ? body.error : undefined
  const code = error === undefined ? undefined : codeOf(error)
  const described = describe(status, error, code)
  const known = code === undefined ? undefined : verdictOf(code)
  return { ...(known ?? verdictByStatus(status, error !== undefined)), error: described }
}

function codeOf(error: JsonObject): number | undefined {
  const code = Number(scalar(error.code))
  return Number.isInteger(code) ? code : undefined
}

function verdictOf(code: number): Verdict | undefined {
  if (code >= PERMISSION_CODES.first && code <= PERMISSION_CODES.last) return STOP
  return VERDICTS.get(code)
}

/** 429 refuses by its meaning. Without an error of Meta's, a 4xx comes from something in between, which did not pass it on. */
function verdictByStatus(status: number, isMetas: boolean): Verdict {
  if (status === 429) return { kind: 'not_sent', reason: 'number_rate' }
  if (status === 401 || status === 403 || status === 407) return STOP
  if (status === 408 || status < 400 || status >= 500) return UNKNOWN
  return isMetas ? { kind: 'failed' } : { kind: 'not_sent', reason: 'refused_on_the_way' }
}

function describe(status: number, error: JsonObject | undefined, code: number | undefined): SendError {
  if (error === undefined)
    return { code: `http_${status}`, message: `HTTP ${status} without an answer of Meta's` }
  const details = text(object(error.error_data).details)
  return {
    code: code ?? `http_${status}`,
    message: text(error.message) ?? `HTTP ${status}`,
    ...(details === undefined ? {} : { details }),
  }
}
