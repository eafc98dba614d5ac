import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The one shape of a background task: `runOnce` now, and again `intervalMs` after it ended, until `signal` aborts. It
 * never overlaps with itself, and survives its errors. Resolves when it has stopped, a run that is under way included, so
 * a ReleaseStack can wait for it. `runOnce` gets the signal to end early.
 */
export async function runEvery(
  intervalMs: number,
  runOnce: (signal: AbortSignal) => unknown,
  signal: AbortSignal,
  onError: (err: unknown) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await runOnce(signal)
    } catch (err) {
      if (!signal.aborted) onError(err)
    }
    // Rejects when the signal aborts, which is what ends the wait.
    await sleep(intervalMs, undefined, { signal }).catch(() => {})
  }
}
