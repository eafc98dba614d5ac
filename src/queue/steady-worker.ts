/**
 * BullMQ's worker on PostgreSQL while its server is of no use: starting or stopping, full, read-only.
 *
 * It would fetch again at once, on a new connection each time. And it takes a long time over what is seldom: the check for
 * stalled jobs that follows a failed one comes 5 s later, and a worker that could not wait for jobs once waits up to an hour
 * the next time, where a job of which it is not told waits with it.
 */
import type { PostgresQueueBackend } from 'bullmq'
import { pauseAfterFailures } from './pause-after-failures.ts'

/** As long as BullMQ waits when nothing has failed. */
const LONGEST_WAIT_SECONDS = 5
/** Clocks that are kept in time differ by less. */
const MAX_CLOCK_DIFFERENCE_MS = 5_000
/** Where BullMQ keeps when stalled jobs were last looked for, by the clock of the worker that did. */
const LAST_CHECK = 'stalled-check'

export function steadyWorker(backend: PostgresQueueBackend): void {
  pauseAfterFailures(backend)
  Object.defineProperty(backend, 'maximumBlockTimeout', { value: LONGEST_WAIT_SECONDS })
  checkAlways(backend)
}

/** BullMQ waits 5 s after a check that throws; after one that has found nothing, only for the interval. */
function checkAlways(backend: PostgresQueueBackend): void {
  const check = backend.moveStalledJobsToWait.bind(backend)
  backend.moveStalledJobsToWait = async () => {
    try {
      await forgetCheckOfTheFuture(backend)
      return await check()
    } catch (err) {
      backend.emit('error', err)
      return []
    }
  }
}

/** A clock that was ahead has dated the last check in the future, and nobody would look again until that time has come. */
async function forgetCheckOfTheFuture(backend: PostgresQueueBackend): Promise<void> {
  const checkedAt = Number(await backend.getQueueMetaField(LAST_CHECK))
  if (checkedAt > Date.now() + MAX_CLOCK_DIFFERENCE_MS) await backend.removeQueueMetaFields([LAST_CHECK])
}
