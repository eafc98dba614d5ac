/**
 * A pause for BullMQ's worker after a fetch that failed. After any error but a refused connection, BullMQ fetches again at
 * once: thousands of times a second on a full Redis, and on a new connection each time on PostgreSQL.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Worker } from 'bullmq'

type Fetching = Pick<
  Worker['backend'],
  'moveToActive' | 'waitForJob' | 'disconnectBlocking' | 'reconnectBlocking'
>

const PAUSE_MS = 500

/** Changes a worker's backend in place. Closing the worker interrupts the pause, as it interrupts the wait for a job. */
export function pauseAfterFailures(backend: Fetching): void {
  const { moveToActive, waitForJob, disconnectBlocking, reconnectBlocking } = backend
  let interruption = new AbortController()

  async function pauseIfItFails<T>(attempt: Promise<T>): Promise<T> {
    try {
      return await attempt
    } catch (err) {
      await delay(PAUSE_MS, undefined, { signal: interruption.signal }).catch(() => {})
      throw err
    }
  }

  backend.moveToActive = (...args) => pauseIfItFails(moveToActive.apply(backend, args))
  backend.waitForJob = (...args) => pauseIfItFails(waitForJob.apply(backend, args))
  backend.disconnectBlocking = (...args) => {
    interruption.abort()
    return disconnectBlocking.apply(backend, args)
  }
  backend.reconnectBlocking = () => {
    interruption = new AbortController()
    return reconnectBlocking.apply(backend)
  }
}
