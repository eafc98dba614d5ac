import { expect, test } from 'vitest'
import { keyProblem } from '../../src/core/storable-key.ts'

test.each([
  ['a text that is too long', 'x'.repeat(11), 'longer than 10 bytes'],
  ['a text of too many bytes in few characters', '\u00e9'.repeat(6), 'longer than 10 bytes'],
  ['U+0000', 'a\u0000', 'with characters that PostgreSQL cannot store'],
  ['a lone surrogate', 'a\ud800', 'with characters that PostgreSQL cannot store'],
])('%s is no key', (_what, text, problem) => {
  expect(keyProblem(text, 10)).toBe(problem)
})

test('the limit is that of the caller', () => {
  expect([keyProblem('abc', 2), keyProblem('abc', 3), keyProblem('', 0)]).toEqual([
    'longer than 2 bytes',
    undefined,
    undefined,
  ])
})

test('a text that is too long and cannot be stored is too long', () => {
  expect(keyProblem('\u0000'.repeat(11), 10)).toBe('longer than 10 bytes')
})

test.each(['', 'wait', 'x'.repeat(10), '\u00e9'.repeat(5), '\ud83d\ude00', '\ufffd', ' '])(
  '%j is a key',
  (text) => {
    expect(keyProblem(text, 10)).toBeUndefined()
  },
)
