import { isUtf8 } from 'node:buffer'
import { parseExact } from '../../core/json-text.ts'
import { hasRepeatedKey } from '../../core/repeated-keys.ts'

/** Event Streams nest about five levels. Past some thousand JSON.stringify fails, and so does PostgreSQL (54001). */
const MAX_LEVELS = 512

/** `hasRepeatedKey`: the items do not say all that the body says. */
export type JsonItems = { items: string[]; hasRepeatedKey: boolean }

/**
 * JSON texts of the items of a JSON body: of each item where it is a list, else of the body exactly as it came.
 * Undefined where the body is no JSON object or list, or nested beyond what can be stored as JSON.
 */
export function readJsonItems(rawBody: Buffer): JsonItems | undefined {
  if (!isUtf8(rawBody)) return undefined
  const text = rawBody.toString('utf8').trim()
  if (!/^[{[]/.test(text)) return undefined
  const body = parseOrNothing(text)
  if (body === undefined || isTooDeep(body)) return undefined
  const items = Array.isArray(body) && body.length > 0 ? body.map((item) => JSON.stringify(item)) : [text]
  return { items, hasRepeatedKey: hasRepeatedKey(text, body) }
}

function parseOrNothing(text: string): unknown {
  try {
    return parseExact(text)
  } catch {
    return undefined
  }
}

function isTooDeep(body: unknown): boolean {
  let level: unknown[] = [body]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_LEVELS) return true
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null ? Object.values(value) : [],
    )
  }
  return false
}
