import { expect, test } from 'vitest'
import { exactBody, hasBody, isDeclaredJson, keepExactText, notJson } from '../../src/api/json-body.ts'
import { parseExact } from '../../src/core/json-text.ts'

test.each([
  [{}, false],
  [{ 'content-length': '0' }, false],
  [{ 'content-length': '1' }, true],
  [{ 'transfer-encoding': 'chunked' }, true],
  [{ 'content-length': '0', 'transfer-encoding': 'chunked' }, true],
  [{ 'content-type': 'application/json' }, false],
])('a request with the headers %j has a body: %s', (headers, expected) => {
  expect(hasBody({ headers })).toBe(expected)
})

test.each([
  ['application/json', true],
  ['application/json; charset=utf-8', true],
  [' Application/JSON ;charset=utf-8', true],
  [undefined, false],
  ['', false],
  // What a form of any site can send.
  ['text/plain', false],
  ['text/plain; application/json', false],
  ['application/x-www-form-urlencoded', false],
  ['multipart/form-data; boundary=application/json', false],
  ['application/jsonp', false],
  ['application/problem+json', false],
])('a body of type %j is declared as JSON: %s', (type, expected) => {
  expect(isDeclaredJson({ headers: type === undefined ? {} : { 'content-type': type } })).toBe(expected)
})

test('the refusal of another type says what to send', () => {
  expect(notJson().problem).toEqual({
    status: 415,
    detail: 'Send the body as JSON, with Content-Type: application/json.',
  })
})

test.each([
  ['a number that JSON.parse would round', '{"id":12345678901234567890}', 'utf-8', true],
  ['other numbers', '{"id":12}', 'utf-8', false],
  ['another encoding', '{"id":12345678901234567890}', 'utf-16le', false],
])('the exact text of a body with %s is kept: %s in %s: %s', (_what, text, encoding, isKept) => {
  const req = {}

  keepExactText(req, undefined, Buffer.from(text), encoding)

  expect(exactBody(req)).toEqual(isKept ? parseExact(text) : undefined)
})
