import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseExact } from '../../src/core/json-text.ts'
import { requestDigest } from '../../src/core/request-digest.ts'

/** Stored with a request for the time of its idempotency key: another digest after an upgrade would refuse a repetition. */
test('is the SHA-256 of the JSON with its members in order', () => {
  const request = { to: '15550101', text: { body: 'grüß', tags: [2, 1], at: null } }

  const json = '{"text":{"at":null,"body":"grüß","tags":[2,1]},"to":"15550101"}'
  expect(requestDigest(request)).toBe(createHash('sha256').update(json).digest('hex'))
})

test('tells numbers apart that JSON.parse makes one', () => {
  const [one, other] = ['{"n":9007199254740993}', '{"n":9007199254740992}'].map(parseExact)

  expect(requestDigest(one)).not.toBe(requestDigest(other))
})

describe('equal requests have one digest', () => {
  test('whatever the order of their members', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (request) => {
        const reversed = Object.fromEntries(Object.entries(request).reverse())
        expect(requestDigest(reversed)).toBe(requestDigest(request))
      }),
    )
  })

  test('also where a member is undefined, on every level', () => {
    const left = { to: '15550101', context: undefined, text: { body: 'hi', preview: undefined } }

    expect(requestDigest(left)).toBe(requestDigest({ to: '15550101', text: { body: 'hi' } }))
  })
})

test.each<[string, unknown, unknown]>([
  ['the order of a list', { ids: [1, 2] }, { ids: [2, 1] }],
  ['where a list ends', [[1], 2], [[1, 2]]],
  ['an element that is split', ['a,b'], ['a', 'b']],
  ['a list and what is in it', ['a'], 'a'],
  ['a list and an object', ['a'], { 0: 'a' }],
  ['null and nothing', { reply: null }, {}],
  ['a number and its text', { code: 1 }, { code: '1' }],
  ['the member that has the value', { a: 'x' }, { b: 'x' }],
  ['the level of a member', { a: { b: 1 } }, { a: {}, b: 1 }],
  ['a quote in a name', { 'a":1,"b': 2 }, { a: 1, b: 2 }],
  ['two values exchanged', { a: 1, b: 2 }, { a: 2, b: 1 }],
])('%s makes a difference', (_what, left, right) => {
  expect(requestDigest(left)).not.toBe(requestDigest(right))
})
