import { expect, test } from 'vitest'
import { checkClock } from '../../src/core/clock-skew.ts'

const HERE = 1_760_000_000_000

test.each([
  [0, []],
  [1_900, []],
  [-1_900, []],
  [2_000, []],
  [-2_000, []],
  [2_001, ['2 s ahead of the clock of this machine']],
  [-2_001, ['2 s behind the clock of this machine']],
  [12_349, ['12.3 s ahead of the clock of this machine']],
  [12_350, ['12.4 s ahead of the clock of this machine']],
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

test.each([
  ['that its answer is ahead by', 63_000, '3 s ahead of the clock of this machine'],
  ['that its question is behind by', -5_000, '5 s behind the clock of this machine'],
])('of a slow query counts only the time %s', async (_what, offsetMs, actual) => {
  const times = [HERE, HERE + 60_000]

  const findings = await checkClock(
    'redis',
    async () => HERE + offsetMs,
    () => times.shift() ?? 0,
  )

  expect(findings).toMatchObject([{ actual }])
})

test('a finding names the clock, how far it may be off, and what to do', async () => {
  const [finding] = await checkClock('postgresql', async () => Date.now() + 60_000)

  expect(finding).toEqual({
    setting: 'postgresql clock',
    actual: expect.stringMatching(/^(?:60|59\.\d) s ahead of/),
    expected: 'within 2 s',
    severity: 'unsafe',
    advice: expect.stringMatching(/^locks, .* are wrong by as much; let NTP .* set the clocks/),
  })
})

test('a store that does not return its time is not reported', async () => {
  expect(await checkClock('redis', async () => Number.NaN)).toEqual([])
})
