/** A JSON body must be declared as JSON. A page of any site can send a form, so a form must never be read as JSON. */
import type { IncomingMessage } from 'node:http'
import { ProblemError } from './problem.ts'

type WithHeaders = Pick<IncomingMessage, 'headers'>

export function hasBody(req: WithHeaders): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0
}

/** True for `application/json; charset=…`, too. */
export function isDeclaredJson(req: WithHeaders): boolean {
  const mediaType = req.headers['content-type']?.split(';')[0]
  return mediaType?.trim().toLowerCase() === 'application/json'
}

export function notJson(): ProblemError {
  return new ProblemError({
    status: 415,
    detail: 'Send the body as JSON, with Content-Type: application/json.',
  })
}
