/**
 * How many items a batch may have, learned from the batches before it.
 *
 * A time-out halves the size, so that the next attempt needs less time, and full batches that succeed double it again. The
 * size that timed out is remembered as the ceiling: the size reaches it only after several successes in a row, after more of
 * them each time that it fails again, and after many when a batch of that size is expected to take as long as the one that
 * timed out. So a database that stays slow costs few time-outs, and one that was slow for a moment costs nothing soon.
 */
export type BatchSize = {
  current(): number
  succeeded(items: number, durationMs: number): void
  timedOut(items: number, durationMs: number): void
}

const FIRST_PATIENCE = 4
const MAX_PATIENCE = 64
/** How many times more successes are needed when the larger batch is expected to time out again. */
const DOUBT_FACTOR = 16

export function createBatchSize(max: number): BatchSize {
  let size = max
  /** The smallest size known to time out, and how long it took. */
  let ceiling = { items: Number.POSITIVE_INFINITY, durationMs: Number.POSITIVE_INFINITY }
  let patience = FIRST_PATIENCE
  let successes = 0

  function grow(to: number): void {
    size = to
    successes = 0
  }

  return {
    current: () => size,
    succeeded: (items, durationMs) => {
      if (items >= ceiling.items) {
        ceiling = { items: Number.POSITIVE_INFINITY, durationMs: Number.POSITIVE_INFINITY }
        patience = FIRST_PATIENCE
      }
      if (items < size || size === max) return
      successes++
      const larger = Math.min(size * 2, max)
      if (larger < ceiling.items) return grow(larger)
      const isDoubtful = (durationMs * larger) / items >= ceiling.durationMs
      if (successes >= patience * (isDoubtful ? DOUBT_FACTOR : 1)) grow(larger)
    },
    timedOut: (items, durationMs) => {
      // A batch that began before the size was made smaller says nothing new.
      if (items > size) return
      if (items >= ceiling.items) patience = Math.min(patience * 2, MAX_PATIENCE)
      ceiling = { items, durationMs }
      size = Math.max(1, Math.floor(items / 2))
      successes = 0
    },
  }
}
