/**
 * Jobs whose data is of no use: it is parked by the id of the job, which for most events names the message.
 *
 * - Evicted: with a `maxmemory-policy` other than `noeviction`, a full Redis deletes the data of a job and leaves its id on the
 *   queue. Such a job is reserved without data (from BullMQ's own worker: with empty data, measured with 6.7.0).
 * - Damaged: the data is not the JSON of an object, because somebody has changed the job by hand, say.
 */
import { EVENT_VERSION } from '../core/event.ts'
import type { StoreItem } from '../db/ingest/store-item.ts'
import type { FindMessageId } from '../providers/index.ts'
import type { ReservedJob } from '../queue/backend.ts'

/** In `webhook_events.reason`. */
export const EVICTED_REASON = 'Redis has deleted the data of this job'
export const DAMAGED_REASON = 'the data of this job is damaged'

export function isUnusable(job: ReservedJob): boolean {
  return isEvicted(job) || isDamaged(job)
}

export function isEvicted({ data }: ReservedJob): boolean {
  return data === undefined || (isObject(data) && Object.keys(data).length === 0)
}

function isDamaged({ data }: ReservedJob): boolean {
  return !isObject(data)
}

function isObject(data: unknown): data is object {
  return typeof data === 'object' && data !== null && !Array.isArray(data)
}

/**
 * A parked item with the job's id, and with the bytes of damaged data. Its key differs from the event's own key, so that the
 * event is stored when it comes again.
 */
export function unusableItem(job: ReservedJob, findMessageId: FindMessageId): StoreItem {
  const [mark, reason, text] = isEvicted(job)
    ? ['emptied', EVICTED_REASON, '']
    : ['damaged', DAMAGED_REASON, textOf(job.data)]
  return {
    job_id: `${mark}.${job.id}`,
    event: {
      v: EVENT_VERSION,
      kind: 'unreadable',
      // A job id without a message id does not tell the provider: the first one stands in for it.
      ...findMessageId(job.id),
      received_at: Date.now(),
      payload: Buffer.from(text).toString('base64'),
    },
    fact: { kind: 'parked', reason },
  }
}

/** A string is data that is not JSON (queue/backend.ts). */
function textOf(data: unknown): string {
  return typeof data === 'string' ? data : JSON.stringify(data)
}
