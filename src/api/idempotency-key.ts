/**
 * The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a string of the client's own making, which
 * makes a request that is repeated the same request. The draft writes it in quotes; most clients do not.
 */
import { z } from 'zod'

const MAX_LENGTH = 255
const BARE = /^[\x21-\x7e]+$/
/** A string of RFC 8941: printable ASCII, where a backslash stands before quotes and backslashes. */
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
