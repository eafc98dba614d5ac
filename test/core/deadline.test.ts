import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { DeadlineError, withDeadline } from '../../src/core/deadline.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('withDeadline', () => {
  test('gives what the promise gives in time, and leaves no timer', async () => {
    const asked = withDeadline(settleAfter(999, 'answer'), 1_000, 'asking')
    await vi.advanceTimersByTimeAsync(999)

    expect(await asked).toBe('answer')
    expect(vi.getTimerCount()).toBe(0)
  })

  test('passes on the error of the promise as it is, and leaves no timer', async () => {
    const refused = new Error('refused')

    await expect(withDeadline(Promise.reject(refused), 1_000, 'asking')).rejects.toBe(refused)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('ends with an error that names what took too long, at its time and not before', async () => {
    let end: unknown
    withDeadline(settleAfter(5_000, 'late'), 1_000, 'asking').catch((err: unknown) => {
      end = err
    })

    await vi.advanceTimersByTimeAsync(999)
    expect(end).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    expect(end).toBeInstanceOf(DeadlineError)
    expect(end).toMatchObject({ name: 'DeadlineError', message: 'asking took longer than 1000 ms' })
  })

  test('ignores an error that comes after its time', async () => {
    const failsLate = settleAfter(5_000, 'late').then(() => Promise.reject(new Error('late')))
    const asked = expect(withDeadline(failsLate, 1_000, 'asking')).rejects.toBeInstanceOf(DeadlineError)

    // A rejection that nobody handles would fail the run.
    await vi.advanceTimersByTimeAsync(5_000)
    await asked
  })
})

function settleAfter<T>(delayMs: number, value: T): Promise<T> {
  return new Promise((resolve) => setTimeout(() => resolve(value), delayMs))
}
