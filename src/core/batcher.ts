/**
 * Batching without a clock: items that arrive while a batch is under way form the next one.
 *
 * An idle batcher sends an item at the end of the current turn of the event loop, so a lone item waits for nothing;
 * under load batches grow by themselves. Order of arrival is kept. An item never waits for more than the batches
 * before it, because a batch is bounded in items and in size.
 */
export type Batcher<Item, Result> = {
  /** Resolves with the item's own result; rejects with what `run` rejected the whole batch with. */
  add(item: Item): Promise<Result>
  /** Items waiting or under way. */
  pending(): number
  /** Rejects the items that wait. What is under way goes on. */
  rejectWaiting(reason: unknown): void
  /** Resolves when everything added so far has settled. */
  drain(): Promise<void>
}

export type BatcherOptions<Item, Result> = {
  /** Returns one result for each item, in the same order. */
  run: (items: Item[]) => Promise<Result[]>
  maxItems: number
  /** Batches under way at the same time. */
  maxInFlight: number
  /** Most bytes in one batch, as `sizeOf` counts them; a single larger item forms a batch of its own. */
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
  let underWay = 0
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
    underWay += batch.length
    try {
      const results = await run(batch.map((entry) => entry.item))
      batch.forEach((entry, index) => {
        entry.resolve(results[index] as Result)
      })
    } catch (err) {
      for (const entry of batch) entry.reject(err)
    } finally {
      inFlight--
      underWay -= batch.length
      schedule()
      tellIfIdle()
    }
  }

  function tellIfIdle(): void {
    if (waiting.length > 0 || inFlight > 0) return
    for (const resolve of idle) resolve()
    idle = []
  }

  function takeBatch(): Waiting<Item, Result>[] {
    let bytes = 0
    let count = 0
    for (const entry of waiting) {
      bytes += entry.bytes
      if (count > 0 && (count >= maxItems || bytes > maxBytes)) break
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
    pending: () => waiting.length + underWay,
    rejectWaiting: (reason) => {
      for (const entry of waiting.splice(0)) entry.reject(reason)
      tellIfIdle()
    },
    drain: () =>
      waiting.length === 0 && inFlight === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            idle.push(resolve)
          }),
  }
}
