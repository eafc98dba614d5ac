/** A JSON body must be declared as JSON. A page of any site can send a form, so a form must never be read as JSON. */
import type { IncomingMessage } from 'node:http'
import { mayHaveInexactNumber, parseExact } from '../core/json-text.ts'
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

const exactTexts = new WeakMap<object, string>()

/** For express.json, as `verify`: keeps the text of a body with numbers that JSON.parse may round. */
export function keepExactText(req: object, _res: unknown, body: Buffer, encoding: string): void {
  if (encoding !== 'utf-8') return
  const text = body.toString('utf8')
  if (mayHaveInexactNumber(text)) exactTexts.set(req, text)
}

/** The body with every number as it was written (`parseExact`); undefined where none was rounded. */
export function exactBody(req: object): unknown {
  const text = exactTexts.get(req)
  return text === undefined ? undefined : parseExact(text)
}

export function notJson(): ProblemError {
  return new ProblemError({
    status: 415,
    detail: 'Send the body as JSON, with Content-Type: application/json.',
  })
}
