/**
 * Jobs whose payload Redis has evicted. With a `maxmemory-policy` other than `noeviction`, a full Redis deletes the data of a
 * job and leaves its id on the queue. Such a job is reserved without data (from BullMQ's own worker: with empty data, measured
 * with 6.7.0).
 */
import { EVENT_VERSION } from '../core/event.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import type { FindMessageId } from '../providers/index.ts'
import type { ReservedJob } from '../queue/backend.ts'

/** In `webhook_events.reason`. */
export const EVICTED_REASON = 'Redis has deleted the data of this job'

export function hasEvictedPayload({ data }: ReservedJob): boolean {
  return data === undefined || (typeof data === 'object' && data !== null && Object.keys(data).length === 0)
}

/**
 * A parked item with the job's id, which for most events names the message. Its key differs from the event's own key, so that
 * the event is stored when it comes again.
 */
export function evictedItem({ id }: ReservedJob, findMessageId: FindMessageId): StoreItem {
  return {
    job_id: `emptied.${id}`,
    event: {
      v: EVENT_VERSION,
      kind: 'unreadable',
      // A job id without a message id does not tell the provider: the first one stands in for it.
      ...findMessageId(id),
      received_at: Date.now(),
      payload: '',
    },
    fact: { kind: 'parked', reason: EVICTED_REASON },
  }
}
