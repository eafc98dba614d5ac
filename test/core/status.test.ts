import { expect, test } from 'vitest'
import { statusRank } from '../../src/core/status.ts'

test('ranks the words of the design, in their order', () => {
  const words = ['queued', 'sending', 'unknown', 'accepted', 'sent', 'failed', 'delivered', 'read', 'played']

  expect(words.map(statusRank)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  expect(statusRank('undelivered')).toBe(statusRank('failed'))
})

test.each(['received', 'deleted', 'toString', '__proto__', ''])('gives %j no rank', (word) => {
  expect(statusRank(word)).toBeUndefined()
})
