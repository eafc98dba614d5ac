/**
 * What was opened is closed in the opposite order, all of it, whatever fails on the way, and within a deadline: a
 * connection to a server that is gone may never close.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export type ReleaseStack = {
  /**
   * `release` runs at the end, before everything added earlier. Added after the end has begun, it runs at once.
   * `timeoutMs` bounds this one alone, so that a known straggler does not use up the time of the others.
   */
  add(name: string, release: () => unknown, options?: { timeoutMs?: number }): void
  /**
   * Releases everything; later calls wait for the same end. After the deadline what is left is still begun, not waited for.
   * @throws the first error, once all have run.
   */
  releaseAll(): Promise<void>
}

type Entry = { name: string; release: () => unknown; timeoutMs: number }

/** `onError` hears of every release that failed or took too long. */
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

/** Begins the release in any case; a failure after the limit is nobody's any more. */
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
