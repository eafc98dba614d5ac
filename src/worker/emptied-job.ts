/**
 * Jobs that have lost their data. A Redis with another `maxmemory-policy` than `noeviction` deletes what a job holds and
 * leaves its id on the queue: what is taken from there has no data (from BullMQ's own worker: empty data, measured with 6.7.0).
 */
import { EVENT_VERSION } from '../core/event.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import type { TakenJob } from '../queue/backend.ts'

/** In `webhook_events.reason`. */
export const EMPTIED_REASON = 'Redis has deleted the data of this job'

const WA_MESSAGE_ID = /wamid\.[A-Za-z0-9+/=_-]+|(?:SM|MM)[0-9a-fA-F]{32}/
const TWILIO_ID = /^(?:SM|MM)/

export function isEmptied({ data }: TakenJob): boolean {
  return data === undefined || (typeof data === 'object' && data !== null && Object.keys(data).length === 0)
}

/**
 * What is left to be stored of it: the id, which for most events names the message. Under a key of its own, so that the
 * event is stored like any other if it comes again.
 */
export function emptiedItem({ id }: TakenJob): StoreItem {
  const [wa_message_id] = WA_MESSAGE_ID.exec(id) ?? []
  return {
    job_id: `emptied.${id}`,
    event: {
      v: EVENT_VERSION,
      kind: 'unreadable',
      // An id that names no message tells no provider either.
      provider: wa_message_id !== undefined && TWILIO_ID.test(wa_message_id) ? 'twilio' : 'meta',
      received_at: Date.now(),
      ...(wa_message_id === undefined ? {} : { wa_message_id }),
      payload: '',
    },
    fact: { kind: 'parked', reason: EMPTIED_REASON },
  }
}
