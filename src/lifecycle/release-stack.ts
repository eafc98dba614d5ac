/**
 * Closes resources in the opposite order of their opening. It closes all of them, whichever fail, and within a deadline,
 * because a connection to a server that is gone may never close.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export type ReleaseStack = {
  /**
   * `release` runs in `releaseAll`, before those added earlier. When `releaseAll` has already begun, it runs at once.
   * `timeoutMs` limits this release alone, so that one that is known to be slow leaves time for the others.
   */
  add(name: string, release: () => unknown, options?: { timeoutMs?: number }): void
  /**
   * Runs all releases; a second call returns the same promise. After the deadline it starts the remaining ones without
   * waiting for them.
   * @throws the first error, after all releases have run or started.
   */
  releaseAll(): Promise<void>
}

type Entry = { name: string; release: () => unknown; timeoutMs: number }

/** `onError` is called for every release that failed or took too long. */
export function createReleaseStack(options: {
  deadlineMs: number
  onError?: (err: Error) => void
}): ReleaseStack {
  const entries: Entry[] = []
  let deadlineAt = Number.POSITIVE_INFINITY
  let released: Promise<void> | undefined
  let firstError: Error | undefined

  async function releaseOne(entry: Entry): Promise<void> {
    const limitMs = Math.max(0, Math.min(entry.timeoutMs, deadlineAt - performance.now()))
    try {
      await within(limitMs, entry)
    } catch (cause) {
      const err = new Error(`${entry.name} was not released`, { cause })
      firstError ??= err
      options.onError?.(err)
    }
  }

  async function releaseEverything(): Promise<void> {
    deadlineAt = performance.now() + options.deadlineMs
    for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) await releaseOne(entry)
    if (firstError !== undefined) throw firstError
  }

  return {
    add(name, release, { timeoutMs = Number.POSITIVE_INFINITY } = {}) {
      const entry = { name, release, timeoutMs }
      if (released === undefined) entries.push(entry)
      else void releaseOne(entry)
    },
    releaseAll: () => {
      released ??= releaseEverything()
      return released
    },
  }
}

/** Starts the release in any case, and ignores a failure after the limit. */
async function within(limitMs: number, { release }: Entry): Promise<void> {
  const work = Promise.resolve().then(release)
  if (limitMs === Number.POSITIVE_INFINITY) {
    await work
    return
  }
  const timer = new AbortController()
  const limit = sleep(limitMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`not done within ${Math.round(limitMs)} ms`)
  })
  work.catch(() => {})
  limit.catch(() => {})
  try {
    await Promise.race([work, limit])
  } finally {
    timer.abort()
  }
}
