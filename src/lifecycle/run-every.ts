import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Runs a background task: `runOnce` now, and again `intervalMs` after each end, until `signal` aborts. Two runs never
 * overlap. An error of a run goes to `onError`, and the next run follows. Resolves when the last run has ended, so that a
 * ReleaseStack can wait for it. `runOnce` gets the signal, so that it can end early.
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
    // The wait ends early when the signal aborts: sleep rejects then.
    await sleep(intervalMs, undefined, { signal }).catch(() => {})
  }
}
