/**
 * Repairs of BullMQ's worker on PostgreSQL (6.7.0), for a server that starts, stops, is full or read-only:
 *
 * - After a fetch that fails, BullMQ fetches again at once, on a new connection each time. The repair pauses between fetches
 *   (pause-after-failures.ts).
 * - After a wait for jobs that fails, BullMQ waits up to an hour the next time; a job that is added without a notification
 *   waits with it. The repair limits each wait to 5 s.
 * - After a check for stalled jobs that fails, BullMQ waits 5 s before the next one. The repair keeps to the interval.
 * - A worker whose clock was ahead leaves the time of the last check in the future, and no worker checks until that time
 *   has come. The repair removes such a time.
 */
import type { PostgresQueueBackend } from 'bullmq'
import { pauseAfterFailures } from './pause-after-failures.ts'

/** As long as BullMQ waits when nothing has failed. */
const LONGEST_WAIT_SECONDS = 5
/** Clocks that are synchronized differ by less. */
const MAX_CLOCK_DIFFERENCE_MS = 5_000
/** BullMQ keeps under this name when a worker last looked for stalled jobs, by that worker's clock. */
const LAST_CHECK = 'stalled-check'

/** Changes the backend of one worker in place. */
export function repairPostgresWorker(backend: PostgresQueueBackend): void {
  pauseAfterFailures(backend)
  Object.defineProperty(backend, 'maximumBlockTimeout', { value: LONGEST_WAIT_SECONDS })
  keepStalledCheckOnTime(backend)
}

/** BullMQ keeps to its interval after a check that found nothing, so a failed check is reported as one of these. */
function keepStalledCheckOnTime(backend: PostgresQueueBackend): void {
  const check = backend.moveStalledJobsToWait.bind(backend)
  backend.moveStalledJobsToWait = async () => {
    try {
      await removeFutureCheckTime(backend)
      return await check()
    } catch (err) {
      backend.emit('error', err)
      return []
    }
  }
}

async function removeFutureCheckTime(backend: PostgresQueueBackend): Promise<void> {
  const checkedAt = Number(await backend.getQueueMetaField(LAST_CHECK))
  if (checkedAt > Date.now() + MAX_CLOCK_DIFFERENCE_MS) await backend.removeQueueMetaFields([LAST_CHECK])
}
