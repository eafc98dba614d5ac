import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseExact, scrubText, toJsonbText } from '../../src/core/json-text.ts'
import { anyCharacter } from '../support/any-text.ts'

describe('parseExact', () => {
  test.each([
    '12345678901234567890',
    '0.1234567890123456789',
    '-98765432109876543210.5',
    // 16 digits, the fewest of an inexact number: 2^53 + 1.
    '9007199254740993',
    '-9007199254740993',
    '900719925474.0993',
    '1234567890123456e1',
    '1e400',
    '-1E400',
    '1e+309',
    '1e-400',
    '123456789012345678901234567890e-5',
  ])('keeps the number %s as it was written', (number) => {
    for (const text of [
      number,
      `[${number}]`,
      `{"id":${number}}`,
      `[1,${number},1]`,
      `[[1],[${number}]]`,
      `{"a":"x","b":{"c":${number},"d":"${number}"}}`,
    ])
      expect(JSON.stringify(parseExact(text))).toBe(text)
    expect(JSON.stringify(parseExact(`\n${number}\n`))).toBe(number)
    expect(JSON.stringify(parseExact(`{"id": ${number}, "ids":[\n${number},\t${number} ] }`))).toBe(
      `{"id":${number},"ids":[${number},${number}]}`,
    )
  })

  test.each([
    '1',
    '1.5',
    '-0.25',
    '1e3',
    '1E+3',
    '1749416383',
    '12.50',
    '0e5',
    '0.00000000000000000000',
    '-0.000000000000012',
    // 2^53, and the longest that are exact though they are written in another way.
    '9007199254740992',
    '1234567890123456',
    '123456789012345e3',
    '12345.6789012345e-3',
    '0.000000000000123456789012345',
    '1e308',
  ])('reads %s as a number', (number) => {
    expect(parseExact(`[${number}]`)).toEqual([Number(number)])
  })

  test('leaves digits inside strings alone', () => {
    expect(parseExact('{"a":"12345678901234567890"}')).toEqual({ a: '12345678901234567890' })
  })

  test('reads everything that JSON.parse reads, as JSON.parse reads it, unless a number would change', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: anyCharacter }), (value) => {
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

  test.each(['', '{"a":', '[01]', '{"a":12345678901234567890', '[1e400,]', "{'a':1}"])(
    'refuses what is not JSON: %s',
    (text) => {
      expect(() => parseExact(text)).toThrow(SyntaxError)
    },
  )
})

describe('toJsonbText', () => {
  test('passes ordinary JSON through unchanged', () => {
    const text = '{"body":"caf\u00e9 \ud83d\ude00 \\\\u0000 is only text here"}'

    expect(toJsonbText(text)).toEqual({ text, isExact: true })
  })

  test.each([
    ['U+0000', '{"a":"x\\u0000y"}', '{"a":"x\ufffdy"}'],
    ['each U+0000', '{"a":["\\u0000x\\u0000"],"b":"\\u0000"}', '{"a":["\ufffdx\ufffd"],"b":"\ufffd"}'],
    ['a lone surrogate', '{"a":"\\ud800"}', '{"a":"\ufffd"}'],
    ['the last of the first ones', '{"a":"\\udbff"}', '{"a":"\ufffd"}'],
    ['the first of the second ones', '{"a":"\\udc00"}', '{"a":"\ufffd"}'],
    ['the last of the second ones', '{"a":"\\udfff"}', '{"a":"\ufffd"}'],
    ['a pair in the wrong order', '{"a":"\\udc00\\ud800"}', '{"a":"\ufffd\ufffd"}'],
    ['U+0000 in a key', '{"k\\u0000":1}', '{"k\ufffd":1}'],
    [
      'a long number beside it',
      '{"a":"\\u0000","n":12345678901234567890}',
      '{"a":"\ufffd","n":12345678901234567890}',
    ],
    [
      'only what has to be replaced',
      '{"__proto__":"\\u0000","n":null,"t":[true,{},[],1.5,-0.5e-7,"","\ud83d\ude00"]}',
      '{"__proto__":"\ufffd","n":null,"t":[true,{},[],1.5,-5e-8,"","\ud83d\ude00"]}',
    ],
    [
      'no number of 999 places beside it',
      `{"a":"\\u0000","n":[${'9'.repeat(999)},1e999]}`,
      `{"a":"\ufffd","n":[${'9'.repeat(999)},1e999]}`,
    ],
    ['an escape in capitals, as others than JSON.stringify write it', '{"a":"\\uD800"}', '{"a":"\ufffd"}'],
    ['a number that PostgreSQL cannot hold', '{"a":[1e999999]}', '{"a":["1e999999"]}'],
    ['a number that PostgreSQL would write out as 100 kB', '{"a":-1e-99999}', '{"a":"-1e-99999"}'],
    ['a number of 1,000 digits', `[${'9'.repeat(1000)}]`, `["${'9'.repeat(1000)}"]`],
    ['the same and nothing else', '9'.repeat(1000), `"${'9'.repeat(1000)}"`],
    ['a number of 1,000 places', `[0.${'9'.repeat(1000)}]`, `["0.${'9'.repeat(1000)}"]`],
    ['the least exponents that are too big', '[1e1000,1E+1000,1e-1000]', '["1e1000","1E+1000","1e-1000"]'],
    ['an exponent with zeros in front', '[1e01000,1e-0001000]', '["1e01000","1e-0001000"]'],
  ])('replaces %s and says that it did', (_what, text, expected) => {
    expect(toJsonbText(text)).toEqual({ text: expected, isExact: false })
  })
})

test.each([
  ['with exponents up to 999', '[1e400,-1e-999,1E+999,"1e99999"]'],
  ['with zeros in front of the exponent', '[1e00999,1e-0000400]'],
  ['of 999 digits', `[${'9'.repeat(999)}]`],
  ['of 999 places', `[0.${'9'.repeat(999)}]`],
])('toJsonbText keeps numbers %s', (_what, text) => {
  expect(toJsonbText(text)).toEqual({ text, isExact: true })
})

test('toJsonbText takes linear time, however many digits there are', () => {
  const text = JSON.stringify(`${'9'.repeat(999)} `.repeat(16_000))
  const startedAt = process.cpuUsage()

  expect(toJsonbText(text).isExact).toBe(true)
  expect(process.cpuUsage(startedAt).user / 1000).toBeLessThan(3_000)
})

describe('scrubText', () => {
  test.each([
    ['\u0000', '\ufffd'],
    ['a\u0000b', 'a\ufffdb'],
    ['\u0000a\u0000', '\ufffda\ufffd'],
    ['\ud800', '\ufffd'],
    ['a\ud800b', 'a\ufffdb'],
    ['\udc00\ud800', '\ufffd\ufffd'],
    ['a\u0000b \ud83d\ude00 \ud800', 'a\ufffdb \ud83d\ude00 \ufffd'],
  ])('replaces what PostgreSQL cannot store: %j', (text, expected) => {
    expect(scrubText(text)).toBe(expected)
  })

  test.each(['', ' ', '~', 'a\n\tb', '\u0001', '\u007f', 'gr\u00fc\u00df', '\ud83d\ude00', '\ufffd\uffff'])(
    'leaves %j as it is',
    (text) => {
      expect(scrubText(text)).toBe(text)
    },
  )
})
