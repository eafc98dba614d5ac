/** Values for the columns `payload` (jsonb: the provider's object) and `raw` (bytea: its exact text, when jsonb cannot hold it). */
import { scrubText, toJsonbText } from '../../core/json-text.ts'
import type { StoreItem } from './store-item.ts'

export type PayloadColumns = { payload: string | null; raw: string | null }

/** `payload`: JSON text. `raw`: base64, for `decode(…, 'base64')`; null when jsonb holds the payload without loss. */
export function payloadColumns({ event, withoutJsonb }: StoreItem): PayloadColumns {
  if (withoutJsonb === true) return { payload: null, raw: base64(event.payload) }
  const { text, isExact } = toJsonbText(event.payload)
  return { payload: text, raw: isExact ? null : base64(event.payload) }
}

/** JSON text for another jsonb column; null for undefined, and for an item whose jsonb PostgreSQL refused. */
export function jsonbColumn({ withoutJsonb }: StoreItem, jsonText: string | undefined): string | null {
  return jsonText === undefined || withoutJsonb === true ? null : toJsonbText(jsonText).text
}

/** Text that PostgreSQL can store; null for undefined. */
export function textColumn(text: string | undefined): string | null {
  return text === undefined ? null : scrubText(text)
}

export function base64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}
