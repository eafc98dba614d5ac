/**
 * A pause for BullMQ's worker before it asks its store again that has just said no. After an error that is not a refused
 * connection it fetches again at once: thousands a second on a full Redis, and with a new connection each time on a
 * PostgreSQL that has enough to do.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Worker } from 'bullmq'

type Fetching = Pick<
  Worker['backend'],
  'moveToActive' | 'waitForJob' | 'disconnectBlocking' | 'reconnectBlocking'
>

const PAUSE_MS = 500

/** Of a worker's backend. What interrupts the wait for a job when a worker is closed interrupts the pause as well. */
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
