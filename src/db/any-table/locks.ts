/**
 * Waits for a lock on a table that is in use.
 *
 * While a statement waits for a lock on a table, every later statement on that table waits behind it. So the wait is cut
 * short, and tried again after a pause in which the writers have the table to themselves.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { SQLSTATE, sqlStateOf } from '../errors.ts'

/**
 * Longest wait for a lock, in ms. Below deadlock_timeout (1 s), so that where a writer and this session wait for each other
 * it is this session that gives up.
 */
export const LOCK_TIMEOUT_MS = 250
/** Shortest pause between two tries. */
const RETRY_PAUSE_MS = 750

/** Whether a statement failed only because another transaction was in its way. */
export function isLockFailure(err: unknown): boolean {
  const code = sqlStateOf(err)
  return (
    code === SQLSTATE.LOCK_NOT_AVAILABLE ||
    code === SQLSTATE.DEADLOCK_DETECTED ||
    code === SQLSTATE.SERIALIZATION_FAILURE
  )
}

/**
 * Repeats `work` for as long as it fails because of a lock. `onWait` is called after each failed try.
 * @throws when `signal` is aborted, and whatever else `work` throws.
 */
export async function untilUnlocked<Result>(
  work: () => Promise<Result>,
  { signal, onWait }: { signal?: AbortSignal | undefined; onWait?: () => unknown },
): Promise<Result> {
  for (;;) {
    signal?.throwIfAborted()
    try {
      return await work()
    } catch (err) {
      if (!isLockFailure(err)) throw err
      await onWait?.()
      // Random, so that it does not keep step with another process that tries at regular intervals.
      await delay(RETRY_PAUSE_MS * (1 + Math.random()), undefined, signal ? { signal } : {})
    }
  }
}
