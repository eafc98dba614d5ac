import { expect, test } from 'vitest'
import { createReleaseStack } from '../../src/lifecycle/release-stack.ts'

const never = () => new Promise(() => {})

test('releases the last first, each after the one before it has ended', async () => {
  const seen: string[] = []
  const releases = createReleaseStack({ deadlineMs: 5_000 })
  releases.add('pool', () => seen.push('pool'))
  releases.add('queue', async () => {
    seen.push('queue begins')
    await new Promise(setImmediate)
    seen.push('queue ends')
  })

  await releases.releaseAll()

  expect(seen).toEqual(['queue begins', 'queue ends', 'pool'])
})

test('releases all of them when some fail, and reports the first failure', async () => {
  const seen: string[] = []
  const errors: Error[] = []
  const releases = createReleaseStack({ deadlineMs: 5_000, onError: (err) => errors.push(err) })
  releases.add('pool', () => seen.push('pool'))
  releases.add('queue', () => Promise.reject(new Error('gone')))
  releases.add('server', () => {
    throw new Error('not listening')
  })

  const released = releases.releaseAll()

  await expect(released).rejects.toMatchObject({
    message: 'server was not released',
    cause: { message: 'not listening' },
  })
  expect(seen).toEqual(['pool'])
  expect(errors.map(({ message }) => message)).toEqual(['server was not released', 'queue was not released'])
})

test('a release that never ends delays the others no longer than the deadline', async () => {
  const seen: string[] = []
  const releases = createReleaseStack({ deadlineMs: 40 })
  releases.add('pool', () => seen.push('pool'))
  releases.add('worker', never)

  const begin = performance.now()
  await expect(releases.releaseAll()).rejects.toThrow('worker was not released')

  expect(seen).toEqual(['pool'])
  expect(performance.now() - begin).toBeLessThan(2_000)
})

test('a slow release with a time-out of its own leaves time for the others', async () => {
  const seen: string[] = []
  const releases = createReleaseStack({ deadlineMs: 5_000 })
  releases.add('pool', async () => {
    await new Promise(setImmediate)
    seen.push('pool')
  })
  releases.add('worker', never, { timeoutMs: 20 })

  await expect(releases.releaseAll()).rejects.toMatchObject({ cause: { message: 'not done within 20 ms' } })

  expect(seen).toEqual(['pool'])
})

test('releases everything once, however often it is called', async () => {
  let count = 0
  const releases = createReleaseStack({ deadlineMs: 5_000 })
  releases.add('pool', () => count++)

  await Promise.all([releases.releaseAll(), releases.releaseAll()])
  await releases.releaseAll()

  expect(count).toBe(1)
})

test('closes at once a resource that is added after the release has begun', async () => {
  const seen: string[] = []
  const releases = createReleaseStack({ deadlineMs: 5_000 })
  await releases.releaseAll()

  releases.add('late', () => seen.push('late'))
  await new Promise(setImmediate)

  expect(seen).toEqual(['late'])
})
