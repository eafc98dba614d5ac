/** Parked events of Meta, parsed once more. */
import type { InboundJob, WebhookEvent } from '../../core/event.ts'
import { contentJobId } from '../../core/job-id.ts'
import { parseExact } from '../../core/json-text.ts'
import { present } from '../present.ts'
import { readContext } from './context.ts'
import { type Around, itemsOfPart, type MetaContext } from './envelope.ts'
import { parseMetaWebhook, toJob } from './parse.ts'

/** See `Reparse`. */
export function reparseMeta(event: WebhookEvent): InboundJob[] {
  const { kind, payload, received_at } = event
  const isBytes = kind === 'unreadable'
  // Bytes of an item have a context, those of a whole body have none.
  if (isBytes && event.context === undefined)
    return parseMetaWebhook(Buffer.from(payload, 'base64'), received_at)
  try {
    const { part = isBytes ? 'other' : kind, ...context } = readContext(event.context)
    const value = parseExact(isBytes ? Buffer.from(payload, 'base64').toString() : payload)
    return [...itemsOfPart(part, value, aroundOf(event, context))].map((item) => toJob(item, received_at))
  } catch (err) {
    const park = `cannot be read again: ${err instanceof Error ? err.message : String(err)}`
    return [{ job_id: contentJobId(['meta', kind, payload]), event: { ...event, park } }]
  }
}

function aroundOf({ account, business_number, field }: WebhookEvent, context: MetaContext): Around {
  return present<Around>({ account, business_number, field, context })
}
