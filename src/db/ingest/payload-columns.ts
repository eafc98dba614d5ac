/**
 * The pair `payload jsonb`, `raw bytea`: the provider's own object as near as jsonb allows, and its exact text where jsonb
 * does not allow it.
 */
import { scrubText, toJsonbText } from '../../core/json-text.ts'
import type { StoreItem } from './store-item.ts'

export type PayloadColumns = { payload: string | null; raw: string | null }

/** `payload`: JSON text for jsonb. `raw`: base64, for `decode(…, 'base64')`; null where the jsonb value says it all. */
export function payloadColumns({ event, withoutJsonb }: StoreItem): PayloadColumns {
  if (withoutJsonb === true) return { payload: null, raw: base64(event.payload) }
  const { text, isExact } = toJsonbText(event.payload)
  return { payload: text, raw: isExact ? null : base64(event.payload) }
}

/** JSON text for a jsonb column beside the payload; null where there is none, or where jsonb is to be avoided. */
export function jsonbColumn({ withoutJsonb }: StoreItem, jsonText: string | undefined): string | null {
  return jsonText === undefined || withoutJsonb === true ? null : toJsonbText(jsonText).text
}

/** Text for a text column; null where there is none. */
export function textColumn(text: string | undefined): string | null {
  return text === undefined ? null : scrubText(text)
}

export function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}
