import { describe, expect, test } from 'vitest'
import { type BatchSize, createBatchSize } from '../../../src/db/ingest/batch-size.ts'

const TIMEOUT_MS = 4_500

/** Writes full batches on a database where a batch of n items takes `durationOf(n)`; returns their sizes. */
function write(size: BatchSize, batches: number, durationOf: (items: number) => number): number[] {
  return Array.from({ length: batches }, () => {
    const items = size.current()
    const durationMs = durationOf(items)
    if (durationMs > TIMEOUT_MS) size.timedOut(items, TIMEOUT_MS)
    else size.succeeded(items, durationMs)
    return items
  })
}

const timeouts = (sizes: readonly number[], durationOf: (items: number) => number) =>
  sizes.filter((items) => durationOf(items) > TIMEOUT_MS).length

describe('the size of a batch', () => {
  test('stays at its maximum while batches succeed', () => {
    expect(new Set(write(createBatchSize(256), 20, (items) => items))).toEqual(new Set([256]))
  })

  test('is halved by each time-out, down to one item, and never below', () => {
    expect(write(createBatchSize(256), 11, () => Number.POSITIVE_INFINITY)).toEqual([
      256, 128, 64, 32, 16, 8, 4, 2, 1, 1, 1,
    ])
  })

  test('is halved once when two batches of that size time out', () => {
    const size = createBatchSize(256)

    size.timedOut(256, TIMEOUT_MS)
    size.timedOut(256, TIMEOUT_MS)

    expect(size.current()).toBe(128)
  })

  test.each([20, 100, 1_000])('costs few time-outs while each item takes %i ms', (itemMs) => {
    const durationOf = (items: number) => items * itemMs
    const size = createBatchSize(256)
    write(size, 10, durationOf)

    const later = write(size, 500, durationOf)

    expect(timeouts(later, durationOf)).toBeLessThan(6)
    expect(Math.max(...later)).toBeGreaterThan(TIMEOUT_MS / itemMs / 2 - 1)
  })

  test('is tried less and less often where only a larger batch is slow', () => {
    const durationOf = (items: number) => (items > 200 ? Number.POSITIVE_INFINITY : 100)

    const sizes = write(createBatchSize(256), 1_000, durationOf)

    expect(timeouts(sizes, durationOf)).toBeLessThan(20)
  })

  test('is at its maximum soon after the database is as quick as before', () => {
    const size = createBatchSize(256)
    write(size, 9, () => Number.POSITIVE_INFINITY)

    const sizes = write(size, 12, () => 10)

    expect(sizes.at(-1)).toBe(256)
  })

  test('does not grow by batches that are not full', () => {
    const size = createBatchSize(256)
    size.timedOut(256, TIMEOUT_MS)

    for (let count = 0; count < 500; count++) size.succeeded(127, 10)

    expect(size.current()).toBe(128)
  })
})
