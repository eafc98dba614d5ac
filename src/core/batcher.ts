/**
 * Batching without a timer: items that arrive while a batch is running form the next one.
 *
 * An idle batcher runs an item at the end of the current turn of the event loop, so a single item does not wait. Under load
 * the batches grow, up to a number of items and a size. Items stay in the order in which they were added.
 */
export type Batcher<Item, Result> = {
  /** Resolves with the result of the item; rejects when `run` rejects its batch. */
  add(item: Item): Promise<Result>
  /** Number of items that wait or are running. */
  pending(): number
  /** Rejects the items that wait. Running batches go on. */
  rejectWaiting(reason: unknown): void
  /** Resolves when no item waits or is running. */
  drain(): Promise<void>
}

export type BatcherOptions<Item, Result> = {
  /** Returns one result for each item, in the same order. */
  run: (items: Item[]) => Promise<Result[]>
  maxItems: number | (() => number)
  /** Maximum number of batches that run at the same time. */
  maxInFlight: number
  /** Maximum size of a batch in bytes, by `sizeOf`; a larger item is a batch of its own. */
  maxBytes?: number
  sizeOf?: (item: Item) => number
}

type Waiting<Item, Result> = {
  item: Item
  bytes: number
  resolve: (result: Result) => void
  reject: (reason: unknown) => void
}

export function createBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { run, maxItems, maxInFlight, maxBytes = Number.POSITIVE_INFINITY, sizeOf = () => 0 } = options
  let waiting: Waiting<Item, Result>[] = []
  let inFlight = 0
  let running = 0
  let isScheduled = false
  let idle: (() => void)[] = []

  function schedule(): void {
    if (isScheduled || waiting.length === 0 || inFlight >= maxInFlight) return
    isScheduled = true
    setImmediate(() => {
      isScheduled = false
      void flush()
      schedule()
    })
  }

  async function flush(): Promise<void> {
    const batch = takeBatch()
    if (batch.length === 0) return
    inFlight++
    running += batch.length
    try {
      const results = await run(batch.map((entry) => entry.item))
      batch.forEach((entry, index) => {
        entry.resolve(results[index] as Result)
      })
    } catch (err) {
      for (const entry of batch) entry.reject(err)
    } finally {
      inFlight--
      running -= batch.length
      schedule()
      notifyIfIdle()
    }
  }

  function notifyIfIdle(): void {
    if (waiting.length > 0 || inFlight > 0) return
    for (const resolve of idle) resolve()
    idle = []
  }

  function takeBatch(): Waiting<Item, Result>[] {
    const most = typeof maxItems === 'number' ? maxItems : maxItems()
    let bytes = 0
    let count = 0
    for (const entry of waiting) {
      bytes += entry.bytes
      if (count > 0 && (count >= most || bytes > maxBytes)) break
      count++
    }
    const batch = waiting.slice(0, count)
    waiting = waiting.slice(count)
    return batch
  }

  return {
    add: (item) =>
      new Promise((resolve, reject) => {
        waiting.push({ item, bytes: sizeOf(item), resolve, reject })
        schedule()
      }),
    pending: () => waiting.length + running,
    rejectWaiting: (reason) => {
      for (const entry of waiting.splice(0)) entry.reject(reason)
      notifyIfIdle()
    },
    drain: () =>
      waiting.length === 0 && inFlight === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            idle.push(resolve)
          }),
  }
}
