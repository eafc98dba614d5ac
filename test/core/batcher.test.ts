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

  test('drains when no item waits or is running', async () => {
    const { batches, run } = heldBatches()
    const batcher = createBatcher({ run, maxItems: 1, maxInFlight: 1 })

    void batcher.add(1)
    void batcher.add(2)
    expect(batcher.pending()).toBe(2)
    await turn()
    const drained = batcher.drain()
    batches[0]?.finish()
    await turn()
    await turn()
    batches[1]?.finish()
    await drained

    expect(batcher.pending()).toBe(0)
  })
})
