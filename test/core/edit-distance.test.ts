import { expect, test } from 'vitest'
import { editDistance } from '../../src/core/edit-distance.ts'

test.each([
  ['verify', 'verify', 0],
  ['', 'api', 3],
  ['worker', 'wroker', 1],
  ['migrate', 'migrat', 1],
  ['dedupe', 'dedube', 1],
  ['start', 'strat', 1],
  ['kitten', 'sitting', 3],
])('between %j and %j are %i edits', (a, b, edits) => {
  expect(editDistance(a, b)).toBe(edits)
  expect(editDistance(b, a)).toBe(edits)
})
