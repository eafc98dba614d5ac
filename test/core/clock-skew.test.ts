import { expect, test } from 'vitest'
import { checkClock } from '../../src/core/clock-skew.ts'

const HERE = 1_760_000_000_000

test.each([
  [0, []],
  [1_900, []],
  [-1_900, []],
  [12_300, ['12.3 s ahead of the clock of this machine']],
  [-90_000, ['90 s behind the clock of this machine']],
])('a store whose clock is %d ms off', async (offsetMs, actual) => {
  const findings = await checkClock(
    'redis',
    async () => HERE + offsetMs,
    () => HERE,
  )

  expect(findings.map((finding) => finding.actual)).toEqual(actual)
})

test('the time that the query took is not counted as a difference', async () => {
  const times = [HERE, HERE + 60_000]

  const findings = await checkClock(
    'redis',
    async () => HERE + 100,
    () => times.shift() ?? 0,
  )

  expect(findings).toEqual([])
})

test('a store that does not return its time is not reported', async () => {
  expect(await checkClock('redis', async () => Number.NaN)).toEqual([])
})
