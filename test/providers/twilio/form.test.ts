import { parse as parseQuery } from 'node:querystring'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeReplacing, formToJson, parseForm } from '../../../src/providers/twilio/form.ts'

describe('a form body', () => {
  test('keeps the order and every repetition of its fields', () => {
    expect(parseForm(Buffer.from('To=1&From=2&To=3&To=1'))).toEqual([
      { name: 'To', value: '1' },
      { name: 'From', value: '2' },
      { name: 'To', value: '3' },
      { name: 'To', value: '1' },
    ])
  })

  test('has spaces as + and other characters as %, in names and values', () => {
    expect(read('a+b=1+%2B+1&%C3%A9=%F0%9F%98%80')).toEqual([
      ['a b', '1 + 1'],
      ['\u00e9', '\u{1F600}'],
    ])
  })

  test.each([
    ['', []],
    ['&&', []],
    ['=', [['', '']]],
    ['Body', [['Body', '']]],
    ['Body=', [['Body', '']]],
    ['=x', [['', 'x']]],
    ['Body=a=b', [['Body', 'a=b']]],
    ['Body=100%&a=%zz%4&b=%41', [['Body', '100%'], ['a', '%zz%4'], ['b', 'A']]], // biome-ignore format: one case, one line
  ])('may be odd: %j', (body, expected) => {
    expect(read(body)).toEqual(expected)
  })

  test('keeps bytes that are no UTF-8, raw or escaped, each as one lone surrogate', () => {
    const raw = Buffer.concat([
      Buffer.from('Body=ab'),
      Buffer.from([0xff, 0xe2, 0x82]),
      Buffer.from('c%ed%a0%80'),
    ])

    expect(parseForm(raw)).toEqual([{ name: 'Body', value: 'ab\udcff\udce2\udc82c\udced\udca0\udc80' }])
  })

  test('never loses a byte', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const escaped = [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
        const value = parseForm(Buffer.from(`Body=${escaped}`))[0]?.value ?? ''
        expect(Buffer.from(encodeExactly(value))).toEqual(Buffer.from(bytes))
      }),
    )
  })

  test('reads as Node reads a query string', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        'a',
        'b',
        '=',
        '&',
        '+',
        '%',
        '%2',
        '%41',
        '%zz',
        '%F0%9F%98%80',
        '%E2%82',
        '%%',
        '%00',
      ),
      fc.string({ maxLength: 3 }),
    )
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const body = pieces.join('')
        const expected = parseQuery(body, '&', '=', { maxKeys: 0 })
        const actual: Record<string, string | string[]> = Object.create(null)
        for (const { name, value } of parseForm(Buffer.from(body), decodeReplacing)) {
          const known = actual[name]
          actual[name] = known === undefined ? value : [known, value].flat()
        }
        expect(actual).toEqual(expected)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the JSON text of a form', () => {
  test('is one object in the order of the body, with a list for a repeated field', () => {
    expect(json('To=1&From=2&To=3')).toBe('{"To":["1","3"],"From":"2"}')
  })

  test('has fields called __proto__ and constructor like any other', () => {
    const text = json('__proto__=1&constructor=2&__proto__=3')

    expect(text).toBe('{"__proto__":["1","3"],"constructor":"2"}')
    expect(Object.entries(JSON.parse(text))).toEqual([
      ['__proto__', ['1', '3']],
      ['constructor', '2'],
    ])
    expect(({} as Record<string, unknown>).constructor).toBe(Object)
  })

  test('says the same again after any trip through JSON, U+0000 and stray bytes included', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const text = formToJson(parseForm(Buffer.from(bytes)))
        expect(text).toBe(JSON.parse(JSON.stringify(text)))
        expect(text.isWellFormed()).toBe(true)
      }),
    )
  })
})

function read(body: string): [string, string][] {
  return parseForm(Buffer.from(body)).map(({ name, value }) => [name, value])
}

function json(body: string): string {
  return formToJson(parseForm(Buffer.from(body)))
}

/** The bytes that a text was decoded from. */
function encodeExactly(text: string): number[] {
  return [...text].flatMap((character) => {
    const code = character.codePointAt(0) ?? 0
    return code >= 0xdc80 && code <= 0xdcff ? [code - 0xdc00] : [...Buffer.from(character)]
  })
}
