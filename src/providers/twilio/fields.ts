import { isRawJson, parseExact } from '../../core/json-text.ts'

/**
 * The fields of a Twilio webhook by name, each as text: of a field that came several times the first value that says
 * something. Empty fields are left out: Twilio sends `Body=` where there is no text.
 */
export type Fields = ReadonlyMap<string, string>

/**
 * Reads an event's payload: the form as an object, or an object that was posted as JSON. Anything else has no fields.
 * @throws SyntaxError when the payload is not JSON.
 */
export function readFields(payload: string): Fields {
  const body = parseExact(payload)
  const fields = new Map<string, string>()
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return fields
  for (const [name, value] of Object.entries(body)) {
    const text = (Array.isArray(value) ? value : [value]).map(toText).find((item) => item !== '')
    if (text !== undefined) fields.set(name, text)
  }
  return fields
}

/** Whether a field says yes. Twilio writes `true` and `false`. */
export function isTrue(fields: Fields, name: string): boolean {
  return fields.get(name)?.toLowerCase() === 'true'
}

/** The value of the first of these fields that is there. */
export function firstOf(fields: Fields, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = fields.get(name)
    if (value !== undefined) return value
  }
  return undefined
}

function toText(value: unknown): string {
  if (isRawJson(value)) return value.rawJSON
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : ''
}
