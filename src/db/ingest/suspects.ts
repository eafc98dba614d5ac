/**
 * Memory of items that the database refused alone, with an error that can be the fault of the item (a trigger that raises)
 * or of the database (a column is missing during a deployment).
 *
 * It is the item's fault when it fails the same way several times over a span of time, while other items of its kind are
 * stored. Only then it is parked. If all items fail, nothing is parked, however long it lasts: a try counts only when something
 * was stored since the first one. The memory is that of one process: another one, and the next one, try as often.
 */
import { isUnavailable } from '../errors.ts'
import { refusal } from './refusal.ts'
import type { StoreItem } from './store-item.ts'

export type Suspect = {
  /** The error of the last try. */
  cause: unknown
  /** What the tries have in common. */
  reason: string
  firstRefusedAt: number
  tries: number
  /** Those that can be the fault of the item: the first one, and each while others of its kind are stored. */
  countedTries: number
  nextTryAt: number
}

export type Suspects = {
  get(item: StoreItem): Suspect | undefined
  /** In how many milliseconds the item is to be tried again; 0 when it is time, or when it is no suspect. */
  retryInMs(item: StoreItem): number
  /** Whether an item of the same kind was stored since this one was first refused. */
  isOnlyThis(item: StoreItem): boolean
  /** Records a try. `since`: when it, or the batch that it was in, first failed in this way. Returns whether to park it. */
  refused(item: StoreItem, cause: unknown, since?: number): 'park' | 'wait'
  forget(item: StoreItem): void
  /** Items of these kinds were stored by a transaction that began at `startedAt`. */
  stored(kinds: Iterable<StoreItem['fact']['kind']>, startedAt: number): void
}

const MIN_TRIES = 3
const MIN_SPAN_MS = 5_000
/**
 * An item that times out alone may wait for a lock that somebody holds for minutes, and each try costs a time-out. So it is
 * tried less often, and for longer.
 */
const MIN_SPAN_OF_TIMEOUTS_MS = 600_000
const FIRST_DELAY_MS = 500
const MAX_DELAY_MS = 2_000
/** While nothing of its kind is stored. Longer, so that the many that are refused then leave room for those behind them. */
const MAX_DELAY_OF_ALL_MS = 10_000
const MAX_DELAY_OF_TIMEOUTS_MS = 60_000
/** Each costs a few hundred bytes. A forgotten one begins again. */
const MAX_SUSPECTS = 20_000

/** `now`: a clock in milliseconds that never goes back. */
export function createSuspects(now: () => number): Suspects {
  const suspects = new Map<string, Suspect>()
  const lastStoredAt = new Map<StoreItem['fact']['kind'], number>()

  function isOnlyThis(item: StoreItem): boolean {
    const suspect = suspects.get(item.job_id)
    const storedAt = lastStoredAt.get(item.fact.kind) ?? Number.NEGATIVE_INFINITY
    return suspect !== undefined && storedAt >= suspect.firstRefusedAt
  }

  function add(item: StoreItem, cause: unknown, reason: string, firstRefusedAt: number): Suspect {
    const suspect = { cause, reason, firstRefusedAt, tries: 0, countedTries: 0, nextTryAt: 0 }
    const [oldest] = suspects.size >= MAX_SUSPECTS ? suspects.keys() : []
    if (oldest !== undefined) suspects.delete(oldest)
    suspects.set(item.job_id, suspect)
    return suspect
  }

  return {
    get: (item) => suspects.get(item.job_id),
    retryInMs: (item) => Math.max(0, (suspects.get(item.job_id)?.nextTryAt ?? 0) - now()),
    isOnlyThis,
    refused: (item, cause, since = now()) => {
      const reason = refusal(cause)
      const known = suspects.get(item.job_id)
      const suspect = known?.reason === reason ? known : add(item, cause, reason, since)
      const isTheOnlyOne = isOnlyThis(item)
      suspect.cause = cause
      suspect.tries++
      if (suspect.tries === 1 || isTheOnlyOne) suspect.countedTries++
      const { minSpanMs, maxDelayMs } = patienceFor(cause, isTheOnlyOne)
      suspect.nextTryAt = now() + Math.min(FIRST_DELAY_MS * 2 ** (suspect.tries - 1), maxDelayMs)
      const isSame = suspect.countedTries >= MIN_TRIES && now() - suspect.firstRefusedAt >= minSpanMs
      return isSame && isTheOnlyOne ? 'park' : 'wait'
    },
    forget: (item) => suspects.delete(item.job_id),
    stored: (kinds, startedAt) => {
      for (const kind of kinds) {
        lastStoredAt.set(kind, Math.max(startedAt, lastStoredAt.get(kind) ?? Number.NEGATIVE_INFINITY))
      }
    },
  }
}

function patienceFor(cause: unknown, isOnlyThis: boolean): { minSpanMs: number; maxDelayMs: number } {
  if (isUnavailable(cause))
    return { minSpanMs: MIN_SPAN_OF_TIMEOUTS_MS, maxDelayMs: MAX_DELAY_OF_TIMEOUTS_MS }
  return { minSpanMs: MIN_SPAN_MS, maxDelayMs: isOnlyThis ? MAX_DELAY_MS : MAX_DELAY_OF_ALL_MS }
}
