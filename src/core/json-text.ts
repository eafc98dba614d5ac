/**
 * JSON without loss from the provider to PostgreSQL.
 *
 * JSON.parse rounds numbers beyond 2^53: those are kept as their source text. And jsonb refuses U+0000 (22P05), lone
 * surrogates (22P02) and numbers out of range (22003): a payload with one of them is stored scrubbed, and its exact text
 * in a bytea column.
 */

/** A number that may be inexact: 16 digits or more, or an exponent. A match inside a string only costs time. */
const MAYBE_INEXACT_NUMBER = /(?:^|[:[,\s])-?(?:[\d.]{16,}|[\d.]+[eE])/
/** Tokens that tell numbers from text: in valid JSON, escapes and quotes belong to strings. */
const ESCAPE_QUOTE_OR_NUMBER = /\\.|"|-?\d[\d.eE+-]*/g
/** Escapes of U+0000 and of surrogates. A valid pair of surrogates matches too, which only costs time. */
const REFUSED_BY_JSONB = /\\u(?:0000|d[89a-f][0-9a-f]{2})/i
/**
 * Numbers of a thousand digits and more. PostgreSQL accepts up to 131,072 digits, but writes all of them out: `1e99999`,
 * seven bytes of a webhook, would be 100 kB each time the row is read.
 */
const OVERLONG_NUMBER = /[eE][+-]?0*[1-9]\d{3}|\d{1000}/
/** A match inside a string only costs time; the lookbehind keeps that linear. */
const MAYBE_OVERLONG_NUMBER = /\d[eE][+-]?\d{4}|(?<!\d)\d{1000}/

/** ECMAScript's JSON source text access (Node 22 and later); TypeScript's library does not describe it. */
export type RawJson = { readonly rawJSON: string }
const rawJson = (JSON as unknown as { rawJSON(text: string): RawJson }).rawJSON
/** Whether `parseExact` kept this number as its source text, `value.rawJSON`. */
export const isRawJson = (JSON as unknown as { isRawJSON(value: unknown): value is RawJson }).isRawJSON

/**
 * Parses JSON text and keeps every number exact. A number that a double cannot hold becomes an object of `JSON.rawJSON`,
 * which `JSON.stringify` writes back unchanged.
 * @throws SyntaxError when the text is not JSON
 */
export function parseExact(text: string): unknown {
  if (!mayHaveInexactNumber(text)) return JSON.parse(text)
  try {
    return JSON.parse(text, keepInexactNumber)
  } catch (err) {
    // With a reviver JSON.parse recurses, so deep nesting overflows the stack, which it does not without one.
    if (err instanceof RangeError) return parseExactWithoutRecursion(text)
    throw err
  }
}

/** Turns inexact numbers into strings with a random mark before parsing, and into raw numbers after it. */
function parseExactWithoutRecursion(text: string): unknown {
  const mark = crypto.randomUUID()
  let isInString = false
  const marked = text.replace(ESCAPE_QUOTE_OR_NUMBER, (token) => {
    if (token === '"') isInString = !isInString
    const isNumber = !isInString && token !== '"'
    return isNumber && !isExact(Number(token), token) ? `"${mark}${token}"` : token
  })
  const holder: Record<string, unknown> = { value: JSON.parse(marked) }
  const open = [holder]
  for (let current = open.pop(); current !== undefined; current = open.pop()) {
    for (const [key, value] of Object.entries(current)) {
      if (typeof value === 'string' && value.startsWith(mark))
        current[key] = rawJson(value.slice(mark.length))
      else if (isContainer(value)) open.push(value)
    }
  }
  return holder.value
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** Whether the text may have a number that JSON.parse rounds; true also where a string only looks so. */
export function mayHaveInexactNumber(text: string): boolean {
  return MAYBE_INEXACT_NUMBER.test(text)
}

function keepInexactNumber(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source
  return typeof value !== 'number' || source === undefined || isExact(value, source) ? value : rawJson(source)
}

/** A double holds every decimal of 15 significant digits; a longer one is exact only if it prints as it was written. */
function isExact(value: number, source: string): boolean {
  if (String(value) === source) return true
  const significantDigits = source
    .replace(/[eE].*$/, '')
    .replace(/\D/g, '')
    .replace(/^0+/, '')
  return Number.isFinite(value) && significantDigits.length <= 15 && (value !== 0 || significantDigits === '')
}

/** JSON text that jsonb accepts. `isExact`: false when something had to be replaced. */
export function toJsonbText(jsonText: string): { text: string; isExact: boolean } {
  const isSuspect = REFUSED_BY_JSONB.test(jsonText) || MAYBE_OVERLONG_NUMBER.test(jsonText)
  if (!isSuspect) return { text: jsonText, isExact: true }
  const scrubbed = JSON.stringify(scrub(parseExact(jsonText)))
  return { text: scrubbed, isExact: scrubbed === jsonText }
}

/** A fast test that nearly every text passes: it has nothing to replace. */
const PLAIN_TEXT = /^[ -~]*$/

/** Text that PostgreSQL can store: U+0000 and lone surrogates become U+FFFD. */
export function scrubText(text: string): string {
  if (PLAIN_TEXT.test(text)) return text
  return text.toWellFormed().replaceAll('\u0000', '\uFFFD')
}

/** Scrubs every string, and turns an overlong number into a string. */
function scrub(value: unknown): unknown {
  if (typeof value === 'string') return scrubText(value)
  if (Array.isArray(value)) return value.map(scrub)
  if (typeof value !== 'object' || value === null) return value
  if (isRawJson(value)) return OVERLONG_NUMBER.test(value.rawJSON) ? value.rawJSON : value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [scrubText(key), scrub(item)]))
}
