/**
 * Tells the streams when the feed of changes has something new.
 *
 * It reads the newest cursor twice a second, once for all streams of a process, and only while a stream waits. NOTIFY
 * is no alternative: every transaction that writes would have to send it (PostgreSQL then commits them one after the
 * other), and it would arrive too early, because a change can be read only when every older transaction has ended.
 */
import { runEvery } from '../lifecycle/run-every.ts'

export type ChangeWatch = {
  /** The newest cursor at the last read. Call it before reading a page, and pass it to `changed` afterwards. */
  newest(): string | undefined
  /** Resolves when the newest cursor is another one than `seen`; rejects when `signal` aborts. */
  changed(seen: string | undefined, signal: AbortSignal): Promise<void>
}

export type ChangeWatchOptions = {
  readNewest: () => Promise<string | undefined>
  intervalMs: number
  /** Aborts when the process stops. */
  signal: AbortSignal
  onError: (err: unknown) => void
}

export function createChangeWatch(options: ChangeWatchOptions): ChangeWatch {
  const waiting = new Set<() => void>()
  let newest: string | undefined
  let isReading = false

  async function readOnce(stop: () => void): Promise<void> {
    if (waiting.size === 0) return stop()
    const found = await options.readNewest()
    if (found === newest) return
    newest = found
    for (const wake of [...waiting]) wake()
  }

  async function readWhileStreamsWait(): Promise<void> {
    if (isReading) return
    isReading = true
    const idle = new AbortController()
    const signal = AbortSignal.any([options.signal, idle.signal])
    await runEvery(options.intervalMs, () => readOnce(() => idle.abort()), signal, options.onError)
    isReading = false
  }

  return {
    newest: () => newest,
    changed: (seen, signal) =>
      new Promise((resolve, reject) => {
        if (newest !== seen) return resolve()
        if (signal.aborted) return reject(signal.reason)
        const finish = (answer: () => void) => {
          waiting.delete(wake)
          signal.removeEventListener('abort', stop)
          answer()
        }
        const wake = () => finish(resolve)
        const stop = () => finish(() => reject(signal.reason))
        waiting.add(wake)
        signal.addEventListener('abort', stop, { once: true })
        void readWhileStreamsWait()
      }),
  }
}
