import { describe, expect, test } from 'vitest'
import { createBatcher } from '../../src/core/batcher.ts'

/** A `run` whose batches end when the test resolves them. */
function heldBatches() {
  const batches: { items: number[]; finish: (err?: Error) => void }[] = []
  const run = (items: number[]) =>
    new Promise<string[]>((resolve, reject) => {
      batches.push({
        items,
        finish: (err) => (err ? reject(err) : resolve(items.map((item) => `done ${item}`))),
      })
    })
  return { batches, run }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('createBatcher', () => {
  test('puts the items of one turn of the event loop into one batch, in order', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 10, maxInFlight: 1 })

    const results = [1, 2, 3].map((item) => batcher.add(item))
    await turn()
    batches[0]?.finish()

    expect(await Promise.all(results)).toEqual(['done 1', 'done 2', 'done 3'])
    expect(batches.map((batch) => batch.items)).toEqual([[1, 2, 3]])
  })

  test('gathers the items that arrive while a batch is running', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 10, maxInFlight: 1 })

    void batcher.add(1)
    await turn()
    void batcher.add(2)
    await turn()
    void batcher.add(3)
    await turn()
    batches[0]?.finish()
    await turn()
    await turn()

    expect(batches.map((batch) => batch.items)).toEqual([[1], [2, 3]])
  })

  test('rejects the waiting items on request, and finishes the running batches', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 1, maxInFlight: 1 })

    const underWay = batcher.add(1)
    await turn()
    const waiting = batcher.add(2)
    batcher.rejectWaiting(new Error('given up'))

    await expect(waiting).rejects.toThrow('given up')
    expect(batcher.pending()).toBe(1)
    batches[0]?.finish()
    expect(await underWay).toBe('done 1')
    await batcher.drain()
    expect(batches).toHaveLength(1)
  })

  test('does not let an item wait for another batch while a second one may run', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 1, maxInFlight: 2 })

    void batcher.add(1)
    const second = batcher.add(2)
    await turn()
    await turn()
    batches[1]?.finish()

    expect(await second).toBe('done 2')
  })

  test('bounds a batch in items and in bytes, and lets a large item go alone', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 3, maxInFlight: 9, maxBytes: 10, sizeOf: (item) => item })

    for (const item of [4, 5, 6, 50, 1, 1, 1, 1]) void batcher.add(item)
    for (let i = 0; i < 6; i++) await turn()

    expect(batches.map((batch) => batch.items)).toEqual([[4, 5], [6], [50], [1, 1, 1], [1]])
  })

  test('fills a batch up to exactly its bytes', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 9, maxInFlight: 9, maxBytes: 10, sizeOf: (item) => item })

    for (const item of [4, 6, 10, 1]) void batcher.add(item)
    for (let i = 0; i < 4; i++) await turn()

    expect(batches.map((batch) => batch.items)).toEqual([[4, 6], [10], [1]])
  })

  test('runs no more batches at a time than it may, and the next one when one ends or fails', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 1, maxInFlight: 2 })

    const results = [1, 2, 3, 4].map((item) => batcher.add(item).catch((err: Error) => err.message))
    for (let i = 0; i < 5; i++) await turn()
    expect(batches.map((batch) => batch.items)).toEqual([[1], [2]])
    expect(batcher.pending()).toBe(4)
    batches[1]?.finish(new Error('refused'))
    for (let i = 0; i < 3; i++) await turn()
    expect(batches.map((batch) => batch.items)).toEqual([[1], [2], [3]])
    expect(batcher.pending()).toBe(3)
    for (const at of [0, 2]) batches[at]?.finish()
    for (let i = 0; i < 3; i++) await turn()
    batches[3]?.finish()

    expect(await Promise.all(results)).toEqual(['done 1', 'refused', 'done 3', 'done 4'])
    expect(batcher.pending()).toBe(0)
  })

  test('waits for no other item at the end of the turn, and begins nothing before it', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 10, maxInFlight: 1 })

    void batcher.add(1)
    await Promise.resolve()
    expect(batches).toHaveLength(0)
    await turn()
    expect(batches).toHaveLength(1)
  })

  test('runs nothing for items that were rejected before their batch began', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 10, maxInFlight: 1 })

    const given = batcher.add(1)
    const drained = batcher.drain()
    batcher.rejectWaiting(new Error('given up'))

    await expect(given).rejects.toThrow('given up')
    await drained
    await turn()
    await turn()
    expect([batches.length, batcher.pending()]).toEqual([0, 0])
    void batcher.add(2)
    await turn()
    expect(batches.map((batch) => batch.items)).toEqual([[2]])
  })

  test('fails only the batch that failed', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 1, maxInFlight: 2 })

    const first = batcher.add(1)
    const second = batcher.add(2)
    await turn()
    await turn()
    batches[0]?.finish(new Error('refused'))
    batches[1]?.finish()

    await expect(first).rejects.toThrow('refused')
    expect(await second).toBe('done 2')
  })

  test('is drained at once when it is idle, and for everybody who waits for it', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 1, maxInFlight: 1 })
    await batcher.drain()

    const drains: string[] = []
    void batcher.add(1).catch(() => {})
    void batcher.add(2).catch(() => {})
    for (const name of ['first', 'second']) void batcher.drain().then(() => drains.push(name))
    await turn()
    batches[0]?.finish(new Error('refused'))
    await turn()
    await turn()
    expect(drains).toEqual([])
    batches[1]?.finish(new Error('refused'))
    await turn()

    expect(drains).toEqual(['first', 'second'])
  })

  test('is not drained while one of its batches is running, though nothing waits', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 1, maxInFlight: 2 })
    let isDrained = false
    const results = [1, 2].map((item) => batcher.add(item))
    for (let i = 0; i < 3; i++) await turn()
    void batcher.drain().then(() => {
      isDrained = true
    })

    batches[0]?.finish()
    await turn()
    expect([isDrained, batcher.pending()]).toEqual([false, 1])
    batcher.rejectWaiting(new Error('nobody waits'))
    await turn()
    expect(isDrained).toBe(false)
    batches[1]?.finish()
    await turn()

    expect([isDrained, batcher.pending()]).toEqual([true, 0])
    expect(await Promise.all(results)).toEqual(['done 1', 'done 2'])
  })

  test.each([
    [0, [[1], [2], [3]]],
    [1, [[1], [2], [3]]],
    [2, [[1, 2], [3]]],
    [3, [[1, 2, 3]]],
  ])('puts at most %d of three items into a batch, but never none', async (maxItems, expected) => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems, maxInFlight: 9 })

    for (const item of [1, 2, 3]) void batcher.add(item)
    for (let i = 0; i < 4; i++) await turn()

    expect(batches.map((batch) => batch.items)).toEqual(expected)
  })

  test('asks before each batch how many items it may have', async () => {
    const { batches, run } = heldBatches()
    const sizes = [1, 3, 2]
    const batcher = createBatcher({ run, maxItems: () => sizes.shift() ?? 0, maxInFlight: 9 })

    for (const item of [1, 2, 3, 4, 5, 6]) void batcher.add(item)
    for (let i = 0; i < 4; i++) await turn()

    expect(batches.map((batch) => batch.items)).toEqual([[1], [2, 3, 4], [5, 6]])
  })

  test('rests while nothing waits', async () => {
    let looks = 0
    const maxItems = () => {
      looks += 1
      return 10
    }
    const batcher = createBatcher({ run: async (items: number[]) => items, maxItems, maxInFlight: 2 })

    expect(await batcher.add(1)).toBe(1)
    for (let i = 0; i < 5; i++) await turn()

    expect(looks).toBe(1)
  })

  test('rejects the items of a batch whose run throws before it has a promise, and goes on', async () => {
    const batcher = createBatcher<number, string>({
      run: (items) => {
        if (items.includes(1)) throw new Error('thrown')
        return Promise.resolve(['fine'])
      },
      maxItems: 1,
      maxInFlight: 1,
    })

    const results = [1, 2].map((item) => batcher.add(item).catch((err: Error) => err.message))

    expect(await Promise.all(results)).toEqual(['thrown', 'fine'])
    await batcher.drain()
  })
})
