/** Reads Twilio's answer to a message that it did not take. */
import type { SendError, SendResult } from '../../core/outbound.ts'
import { createSendErrorReader, readCode } from '../send-errors.ts'
import { isResource, type Resource } from './message-resource.ts'
import { TWILIO_SEND_ERRORS } from './send-error-codes.ts'

const judge = createSendErrorReader(TWILIO_SEND_ERRORS, 'account_concurrency')

/** `body`: the answer as JSON, undefined where it was none. */
export function readTwilioError(status: number, body: unknown): SendResult {
  const error = isResource(body) ? body : {}
  const code = ownCode(readCode(error.code))
  return {
    ...judge({ status, code, isFromProvider: code !== undefined }),
    error: describe(status, code, error),
  }
}

/** Twilio's codes have five digits. Gateways write the HTTP status as the code. */
function ownCode(code: number | undefined): number | undefined {
  return code !== undefined && code >= 10_000 && code <= 99_999 ? code : undefined
}

function describe(status: number, code: number | undefined, { message }: Resource): SendError {
  const words = typeof message === 'string' ? message : ''
  if (code === undefined)
    return { code: `http_${status}`, message: words || `HTTP ${status} without an answer of Twilio's` }
  return { code, message: words || `HTTP ${status}` }
}
