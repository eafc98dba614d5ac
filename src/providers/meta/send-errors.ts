/** Reads Meta's answer to a message that it did not take. */
import type { SendError, SendResult } from '../../core/outbound.ts'
import { createSendErrorReader, readCode } from '../send-errors.ts'
import { isObject, type JsonObject, object, text } from './json-reader.ts'
import { META_SEND_ERRORS } from './send-error-codes.ts'

const judge = createSendErrorReader(META_SEND_ERRORS, 'number_rate')

/** `body`: the answer as JSON, undefined where it was none. */
export function readMetaError(status: number, body: unknown): SendResult {
  const error = object(object(body).error)
  const isTraced = text(error.fbtrace_id) !== undefined
  const code = ownCode(readCode(error.code), { status, isTraced })
  const verdict = judge({
    status,
    code,
    subcode: readCode(error.error_subcode),
    isTransient: error.is_transient === true,
    isFromProvider: isTraced || code !== undefined,
  })
  return { ...verdict, error: describe(status, code, isObject(object(body).error) ? error : undefined) }
}

/** Gateways write errors in the same form, with the HTTP status as the code. */
function ownCode(
  code: number | undefined,
  { status, isTraced }: { status: number; isTraced: boolean },
): number | undefined {
  return code === status && !isTraced ? undefined : code
}

function describe(status: number, code: number | undefined, error: JsonObject | undefined): SendError {
  if (error === undefined)
    return { code: `http_${status}`, message: `HTTP ${status} without an answer of Meta's` }
  const details = text(object(error.error_data).details)
  return {
    code: code ?? `http_${status}`,
    message: text(error.message) ?? `HTTP ${status}`,
    ...(details === undefined ? {} : { details }),
  }
}
