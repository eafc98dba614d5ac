import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseExact, scrubText, toJsonbText } from '../../src/core/json-text.ts'

describe('parseExact', () => {
  test.each([
    '12345678901234567890',
    '0.1234567890123456789',
    '-98765432109876543210.5',
    '1e400',
    '123456789012345678901234567890e-5',
  ])('keeps the number %s as it was written', (number) => {
    const text = `{"id":${number},"list":[${number}]}`

    expect(JSON.stringify(parseExact(text))).toBe(text)
  })

  test.each(['1', '1.5', '-0.25', '1e3', '1749416383', '12.50'])('reads %s as a number', (number) => {
    expect(parseExact(`[${number}]`)).toEqual([Number(number)])
  })

  test('leaves digits inside strings alone', () => {
    expect(parseExact('{"a":"12345678901234567890"}')).toEqual({ a: '12345678901234567890' })
  })

  test('reads everything that JSON.parse reads, as JSON.parse reads it, unless a number would change', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        expect(parseExact(JSON.stringify(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  test('keeps every number exact in JSON that is nested too deep for a reviver', () => {
    const beside = String.raw`{"id":12345678901234567890,"a\"1e400":[1e400,1.5,"1e400\\",{"__proto__":0.1234567890123456789}]}`
    const text = `[${beside},${'['.repeat(100_000)}${']'.repeat(100_000)}]`

    const [value] = parseExact(text) as unknown[]

    expect(JSON.stringify(value)).toBe(beside)
  })

  test('refuses what is not JSON', () => {
    expect(() => parseExact('{"a":')).toThrow(SyntaxError)
  })
})

describe('toJsonbText', () => {
  test('passes ordinary JSON through unchanged', () => {
    const text = '{"body":"caf\u00e9 \ud83d\ude00 \\\\u0000 is only text here"}'

    expect(toJsonbText(text)).toEqual({ text, isExact: true })
  })

  test.each([
    ['U+0000', '{"a":"x\\u0000y"}', '{"a":"x\ufffdy"}'],
    ['a lone surrogate', '{"a":"\\ud800"}', '{"a":"\ufffd"}'],
    ['U+0000 in a key', '{"k\\u0000":1}', '{"k\ufffd":1}'],
    [
      'a long number beside it',
      '{"a":"\\u0000","n":12345678901234567890}',
      '{"a":"\ufffd","n":12345678901234567890}',
    ],
    ['an escape in capitals, as others than JSON.stringify write it', '{"a":"\\uD800"}', '{"a":"\ufffd"}'],
    ['a number that PostgreSQL cannot hold', '{"a":[1e999999]}', '{"a":["1e999999"]}'],
    ['a number that PostgreSQL would write out as 100 kB', '{"a":-1e-99999}', '{"a":"-1e-99999"}'],
    ['a number of 1,000 digits', `[${'9'.repeat(1000)}]`, `["${'9'.repeat(1000)}"]`],
  ])('replaces %s and says that it did', (_what, text, expected) => {
    expect(toJsonbText(text)).toEqual({ text: expected, isExact: false })
  })
})

test('toJsonbText keeps numbers of up to 999 places as numbers', () => {
  const text = `[1e400,-1e-999,${'9'.repeat(999)},"1e99999"]`

  expect(toJsonbText(text)).toEqual({ text, isExact: true })
})

test('toJsonbText takes linear time, however many digits there are', () => {
  const text = JSON.stringify(`${'9'.repeat(999)} `.repeat(16_000))
  const startedAt = performance.now()

  expect(toJsonbText(text).isExact).toBe(true)
  expect(performance.now() - startedAt).toBeLessThan(3_000)
})

test('scrubText leaves emoji whole', () => {
  expect(scrubText('a\u0000b \ud83d\ude00 \ud800')).toBe('a\ufffdb \ud83d\ude00 \ufffd')
})
