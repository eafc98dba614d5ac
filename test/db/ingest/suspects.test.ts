import { beforeEach, describe, expect, test } from 'vitest'
import { createSuspects, type Suspects } from '../../../src/db/ingest/suspects.ts'
import { messageItem } from '../../support/facts.ts'

const SECOND = 1_000
const BAD = messageItem('wamid.BAD')
const raised = () => Object.assign(new Error('not this one'), { code: 'P0001' })
const timedOut = () => Object.assign(new Error('canceling statement'), { code: '57014' })

let clock: { now: number }
let suspects: Suspects

beforeEach(() => {
  clock = { now: 100 * SECOND }
  suspects = createSuspects(() => clock.now)
})

/** Tries at these seconds after now, with an item of its kind stored right after the first one. */
function tryAt(seconds: readonly number[], errorOf: (index: number) => Error, { isOtherStored = true } = {}) {
  const startedAt = clock.now
  return seconds.map((second, index) => {
    clock.now = startedAt + second * SECOND
    const verdict = suspects.refused(BAD, errorOf(index))
    if (index === 0 && isOtherStored) suspects.stored(['message'], clock.now)
    return verdict
  })
}

describe('an item that is refused', () => {
  test('is parked when it fails the same way three times within 5 s or more, while others are stored', () => {
    expect(tryAt([0, 2, 5], raised)).toEqual(['wait', 'wait', 'park'])
  })

  test('is not parked before 5 s are over, however often it is tried', () => {
    expect(tryAt([0, 1, 2, 3, 4, 4.9], raised)).not.toContain('park')
  })

  test('is not parked after two tries, however long it takes', () => {
    expect(tryAt([0, 1_000], raised)).not.toContain('park')
  })

  test('is never parked while nothing of its kind is stored', () => {
    expect(tryAt([0, 10, 100, 1_000], raised, { isOtherStored: false })).not.toContain('park')
    suspects.stored(['status', 'other'], clock.now)
    expect(suspects.refused(BAD, raised())).toBe('wait')
    expect(suspects.isOnlyThis(BAD)).toBe(false)
  })

  test('is not parked because of what was stored by a transaction that began before it was refused', () => {
    const before = clock.now - 1
    expect(tryAt([0, 5, 10], raised, { isOtherStored: false })).not.toContain('park')

    suspects.stored(['message'], before)

    expect(suspects.isOnlyThis(BAD)).toBe(false)
    expect(suspects.refused(BAD, raised())).toBe('wait')
  })

  test('is not parked for the tries that it had while everything was refused', () => {
    tryAt([0, 10, 20, 30], raised, { isOtherStored: false })
    suspects.stored(['message'], clock.now)

    expect(tryAt([0, 2], raised)).toEqual(['wait', 'park'])
  })

  test('begins again when it fails in another way', () => {
    const errorOf = (index: number) =>
      index === 2 ? Object.assign(new Error(), { code: '42703' }) : raised()

    expect(tryAt([0, 4, 8, 9], errorOf)).not.toContain('park')
  })

  test('begins again when it was stored meanwhile', () => {
    tryAt([0, 2], raised)

    suspects.forget(BAD)

    expect(suspects.get(BAD)).toBeUndefined()
    expect(tryAt([10], raised)).toEqual(['wait'])
  })

  const delaysOf = (tries: number) =>
    Array.from({ length: tries }, () => {
      suspects.refused(BAD, raised())
      return suspects.retryInMs(BAD)
    })

  test('is tried again after a delay that grows up to 10 s while nothing of its kind is stored', () => {
    expect(delaysOf(6)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 10_000])
  })

  test('is tried again after a delay that grows up to 2 s while others are stored', () => {
    suspects.refused(BAD, raised())
    suspects.stored(['message'], clock.now)

    expect(delaysOf(3)).toEqual([1_000, 2_000, 2_000])
    expect(suspects.retryInMs(BAD)).toBe(2_000)
    clock.now += 2 * SECOND
    expect(suspects.retryInMs(BAD)).toBe(0)
  })

  test('and times out alone is parked after ten minutes only: it may wait for a lock', () => {
    expect(tryAt([0, 60, 300, 599], timedOut)).not.toContain('park')
    clock.now += SECOND
    expect(suspects.refused(BAD, timedOut())).toBe('park')
  })
})
