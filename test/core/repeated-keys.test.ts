import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseExact } from '../../src/core/json-text.ts'
import { hasRepeatedKey } from '../../src/core/repeated-keys.ts'
import { anyCharacter } from '../support/any-text.ts'

const isRepeatedIn = (text: string) => hasRepeatedKey(text, parseExact(text))

describe('a repeated key', () => {
  test.each([
    ['beside itself', '{"a":1,"a":2}'],
    ['with the same value', '{"a":1,"a":1}'],
    ['three times', '{"a":1,"a":2,"a":3}'],
    ['that is empty', '{"":1,"":2}'],
    ['with a colon in it', '{"a:b":1,"a:b":2}'],
    ['whose first value is null', '{"a":null,"a":{}}'],
    ['around spaces', '{ "a" : 1 ,\n"a"\t:2 }'],
    ['last of all', '[[[{"b":{}}]],{"c":[1,"x",null,true]},{"a":[],"a":[]}]'],
    ['far apart and deep', '[0,{"x":[{"a":{},"b":1,"a":[]}]}]'],
    ['spelled in two ways', String.raw`{"a":1,"\u0061":2}`],
    ['that is a name of JavaScript', '{"__proto__":1,"__proto__":2}'],
    ['behind strings that end in backslashes', String.raw`{"p":"\\","q":"\\\"","a":1,"a":2}`],
    ['beside a number that no double holds', '{"n":12345678901234567890,"a":1,"a":2}'],
    ['under 100,000 levels', `${'['.repeat(100_000)}{"a":1,"a":2}${']'.repeat(100_000)}`],
  ])('%s is noticed', (_where, text) => {
    expect(isRepeatedIn(text)).toBe(true)
  })

  test.each([
    ['one key in two objects', '[{"a":1},{"a":2}]'],
    ['colons and quotes in strings', String.raw`{"a:b":"c:\"d\":e\\","f":":"}`],
    ['numbers that no double holds', '{"a":12345678901234567890,"b":[1e400]}'],
    ['names of JavaScript', '{"__proto__":{"__proto__":1},"constructor":2}'],
    ['no object at all', '":"'],
    ['strings that end in backslashes', String.raw`{"a\\":"\\","b\\\"":":\\\\"}`],
    ['empty strings', '{"":"","a":""}'],
    ['a single value', 'null'],
    ['nothing but brackets', '[{},[],{}]'],
    ['colons around numbers', '["1:2",{"a":-1,"b":"3:4"}]'],
  ])('is not seen in %s', (_what, text) => {
    expect(isRepeatedIn(text)).toBe(false)
  })

  test('is not seen in anything that JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: anyCharacter }), fc.nat(3), (value, indent) => {
        expect(isRepeatedIn(JSON.stringify(value, null, indent))).toBe(false)
      }),
    )
  })
})
