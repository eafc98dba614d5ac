import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { runEvery } from '../../src/lifecycle/run-every.ts'

const HOUR = 3_600_000

test('runs at once, and again after each interval', async () => {
  const stop = new AbortController()
  let runs = 0

  await runEvery(1, () => ++runs === 3 && stop.abort(), stop.signal, throwIt)

  expect(runs).toBe(3)
})

test('never runs twice at the same time, however long a run takes', async () => {
  const stop = new AbortController()
  let [running, mostRunning, runs] = [0, 0, 0]

  await runEvery(
    0,
    async () => {
      mostRunning = Math.max(mostRunning, ++running)
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
      running--
      if (++runs === 5) stop.abort()
    },
    stop.signal,
    throwIt,
  )

  expect(mostRunning).toBe(1)
})

test('goes on after an error, thrown or rejected, and reports each', async () => {
  const stop = new AbortController()
  const errors: unknown[] = []
  let runs = 0

  await runEvery(
    1,
    () => {
      runs++
      if (runs === 1) throw new Error('thrown')
      if (runs === 2) return Promise.reject(new Error('rejected'))
      return stop.abort()
    },
    stop.signal,
    (err) => errors.push(err),
  )

  expect(errors).toMatchObject([{ message: 'thrown' }, { message: 'rejected' }])
})

test('stops in the middle of its wait', async () => {
  const stop = new AbortController()
  const { promise: firstRun, resolve } = Promise.withResolvers<void>()
  const loop = runEvery(HOUR, () => resolve(), stop.signal, throwIt)
  await firstRun

  stop.abort()

  await expect(loop).resolves.toBeUndefined()
})

test('resolves after the run under way has ended, and gives that run the signal', async () => {
  const stop = new AbortController()
  let hasEnded = false
  const loop = runEvery(
    HOUR,
    async (signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      hasEnded = true
      throw new Error('aborted')
    },
    stop.signal,
    throwIt,
  )

  stop.abort()
  await loop

  expect(hasEnded).toBe(true)
})

test('does not run at all when it is already stopped', async () => {
  let runs = 0

  await runEvery(1, () => runs++, AbortSignal.abort(), throwIt)

  expect(runs).toBe(0)
})

test('leaves no listener behind on the signal', async () => {
  const stop = new AbortController()
  let runs = 0

  await runEvery(
    0,
    () => {
      expect(getEventListeners(stop.signal, 'abort').length).toBeLessThanOrEqual(1)
      return ++runs === 50 && stop.abort()
    },
    stop.signal,
    throwIt,
  )

  expect(runs).toBe(50)
})

function throwIt(err: unknown): never {
  throw err
}
