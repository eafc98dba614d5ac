import { expect, test } from 'vitest'
import { median } from '../../rig/statistics.ts'

test('the median is the value in the middle, or the mean of the two in the middle', () => {
  expect(median([30, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 30])).toBe(3)
  expect(median([])).toBeNaN()
})
