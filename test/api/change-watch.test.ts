import { expect, test } from 'vitest'
import { createChangeWatch } from '../../src/api/change-watch.ts'
import { cleanUp } from '../support/clean-up.ts'

const INTERVAL_MS = 2

/** A feed whose newest cursor the test sets; it counts the reads. */
function createFeed() {
  const stop = new AbortController()
  cleanUp(() => stop.abort())
  const feed = { newest: undefined as string | undefined, reads: 0, errors: 0, isAway: false }
  const watch = createChangeWatch({
    readNewest: async () => {
      feed.reads++
      if (feed.isAway) throw new Error('away')
      return feed.newest
    },
    intervalMs: INTERVAL_MS,
    signal: stop.signal,
    onError: () => {
      feed.errors++
    },
  })
  return { feed, watch }
}

test('wakes every waiting stream when the newest cursor changes', async () => {
  const { feed, watch } = createFeed()
  const { signal } = new AbortController()
  const waiting = [watch.changed(undefined, signal), watch.changed(undefined, signal)]

  feed.newest = '1.1'

  await Promise.all(waiting)
  expect(watch.newest()).toBe('1.1')
})

test('does not wait when the newest cursor has changed before', async () => {
  const { feed, watch } = createFeed()
  const { signal } = new AbortController()
  feed.newest = '1.1'
  await watch.changed(undefined, signal)

  await watch.changed('0.1', signal)

  expect(watch.newest()).toBe('1.1')
})

test('reads again after an outage of the database', async () => {
  const { feed, watch } = createFeed()
  feed.isAway = true
  const waiting = watch.changed(undefined, new AbortController().signal)
  await expect.poll(() => feed.errors).toBeGreaterThan(1)

  feed.isAway = false
  feed.newest = '1.1'

  await waiting
})

test('does not read while no stream waits, and reads again for the next one', async () => {
  const { feed, watch } = createFeed()
  const leaving = new AbortController()
  const waiting = watch.changed(undefined, leaving.signal)
  await expect.poll(() => feed.reads).toBeGreaterThan(1)

  leaving.abort(new Error('left'))
  await expect(waiting).rejects.toThrow('left')
  const other = createFeed()
  void other.watch.changed(undefined, new AbortController().signal)
  const intervals = (count: number) =>
    expect.poll(() => other.feed.reads, { timeout: 20_000 }).toBeGreaterThanOrEqual(count)
  // A read may be under way.
  await intervals(5)
  const before = feed.reads
  await intervals(25)

  expect(feed.reads).toBe(before)
  feed.newest = '1.1'
  await watch.changed(undefined, new AbortController().signal)
})
