/**
 * The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a string that the client chooses. Two
 * requests with the same key are the same request. The draft puts the key in quotes; most clients send it without.
 */
import { z } from 'zod'

const MAX_LENGTH = 255
const BARE = /^[\x21-\x7e]+$/
/** A string of RFC 8941: printable ASCII, with a backslash before each quote and backslash. */
const QUOTED = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/

const MUST = `must be 1 to ${MAX_LENGTH} printable ASCII characters, for example a UUID`

export const idempotencyKey = z
  .string()
  .transform((value, context) => {
    const quoted = QUOTED.exec(value)?.[1]?.replace(/\\(.)/g, '$1')
    const key = quoted ?? (BARE.test(value) && !value.startsWith('"') ? value : '')
    if (key.length > 0 && key.length <= MAX_LENGTH) return key
    context.addIssue(MUST)
    return z.NEVER
  })
  .optional()
  .describe(
    'Makes repeating safe: the same key with the same body answers the message that it made the first time.',
  )
