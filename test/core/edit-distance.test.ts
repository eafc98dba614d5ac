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
  ['', '', 0],
  ['a', 'b', 1],
  ['ab', 'ba', 1],
  ['abcd', 'badc', 2],
  ['start', 'tsart', 1],
  ['start', 'statr', 1],
  // Letters that are no neighbours, or of which one is another letter, are not swapped.
  ['abc', 'cba', 2],
  ['ca', 'abc', 3],
  ['ab', 'bc', 2],
  ['ab', 'ca', 2],
])('between %j and %j are %i edits', (a, b, edits) => {
  expect(editDistance(a, b)).toBe(edits)
  expect(editDistance(b, a)).toBe(edits)
})
