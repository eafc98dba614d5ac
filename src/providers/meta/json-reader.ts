/**
 * Readers for JSON of which every part may be missing or of another type: they answer with nothing instead of throwing.
 * Values come from `parseExact`, so a large number may be an object that only `isRawJson` tells apart.
 */
import { isRawJson } from '../../core/json-text.ts'

export type JsonObject = { readonly [key: string]: unknown }

const NOTHING: JsonObject = Object.freeze({})
const UNIX_TIME = /^\d{1,16}(?:\.\d+)?$/
/** Seconds up to here, milliseconds beyond: 10^11 seconds are the year 5138, 10^11 milliseconds 1973. */
const MAX_SECONDS = 1e11
/** The end of the year 9999: what comes after it has no ISO form that PostgreSQL reads. */
const MAX_MILLISECONDS = 253_402_300_799_999

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJson(value)
}

/** The object, or an empty one. */
export function object(value: unknown): JsonObject {
  return isObject(value) ? value : NOTHING
}

/** The array, or an empty one. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The string, if it is one and not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A string or a number as text: what Meta documents as one of them is sometimes sent as the other. */
export function scalar(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return isRawJson(value) ? value.rawJSON : text(value)
}

/** A string, or a whole number as text: an id or an address. */
export function idText(value: unknown): string | undefined {
  const id = scalar(value)
  return typeof value === 'string' || (id !== undefined && /^\d+$/.test(id)) ? id : undefined
}

/** The property under a name that the provider chose: inherited ones (`constructor`) are none. */
export function own(value: JsonObject, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined
}

/** The first value that is there. */
export function first<T>(...values: readonly (T | undefined)[]): T | undefined {
  return values.find((value) => value !== undefined)
}

/** JSON text of an object, or of an array that holds something. */
export function jsonText(value: unknown): string | undefined {
  return isObject(value) || list(value).length > 0 ? JSON.stringify(value) : undefined
}

/** Unix time in seconds (a string in messages and statuses, an integer elsewhere), or milliseconds. */
export function unixTime(value: unknown): Date | undefined {
  const digits = scalar(value)
  if (digits === undefined || !UNIX_TIME.test(digits)) return undefined
  const milliseconds = Number(digits) < MAX_SECONDS ? Number(digits) * 1000 : Number(digits)
  return milliseconds > 0 && milliseconds <= MAX_MILLISECONDS ? new Date(milliseconds) : undefined
}
