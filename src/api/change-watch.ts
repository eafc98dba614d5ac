/**
 * Tells when there is something new in the feed of changes.
 *
 * By asking twice a second, once for all streams of a process, and only while there are streams. NOTIFY would have to
 * come from every transaction that writes (PostgreSQL then lets them commit one after the other) and would still come
 * too early: a change can be read only when every older transaction has ended.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export type ChangeWatch = {
  /** What was newest when it was last asked for; to be taken before reading. */
  newest(): string | undefined
  /** Resolves when something else is newest than `seen`; rejects when `signal` aborts. */
  changed(seen: string | undefined, signal: AbortSignal): Promise<void>
}

export type ChangeWatchOptions = {
  readNewest: () => Promise<string | undefined>
  intervalMs: number
  onError: (err: unknown) => void
}

export function createChangeWatch({ readNewest, intervalMs, onError }: ChangeWatchOptions): ChangeWatch {
  const waiting = new Set<() => void>()
  let newest: string | undefined
  let isAsking = false

  async function askWhileSomebodyWaits(): Promise<void> {
    if (isAsking) return
    isAsking = true
    while (waiting.size > 0) {
      await sleep(intervalMs, undefined, { ref: false })
      const found = await readNewest().catch((err: unknown) => {
        onError(err)
        return newest
      })
      if (found === newest) continue
      newest = found
      for (const wake of [...waiting]) wake()
    }
    isAsking = false
  }

  return {
    newest: () => newest,
    changed: (seen, signal) =>
      new Promise((resolve, reject) => {
        if (newest !== seen) return resolve()
        if (signal.aborted) return reject(signal.reason)
        const settle = (finish: () => void) => {
          waiting.delete(wake)
          signal.removeEventListener('abort', stop)
          finish()
        }
        const wake = () => settle(resolve)
        const stop = () => settle(() => reject(signal.reason))
        waiting.add(wake)
        signal.addEventListener('abort', stop, { once: true })
        void askWhileSomebodyWaits()
      }),
  }
}
