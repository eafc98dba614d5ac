import { expect, test } from 'vitest'
import {
  countCharacters,
  MAX_CAPTION_LENGTH,
  MAX_FILENAME_LENGTH,
  MAX_TEXT_LENGTH,
  USER_ID,
} from '../../src/core/message-limits.ts'

test("a text, a caption and a file's name are as long as WhatsApp allows", () => {
  expect([MAX_TEXT_LENGTH, MAX_CAPTION_LENGTH, MAX_FILENAME_LENGTH]).toEqual([4096, 1024, 240])
})

test.each([
  ['', 0],
  ['grüß', 4],
  ['😀', 1],
  ['👨‍👩‍👧', 5],
  ['🇩🇪', 2],
  ['a\r\n', 3],
  ['\uD83D', 1],
  ['\uDE00\uD83D', 2],
  ['😀'.repeat(4096), 4096],
])('%j has %i characters', (text, expected) => {
  expect(countCharacters(text)).toBe(expected)
})

test.each([
  ['the shortest', 'DE.a'],
  ['letters and digits', 'US.13491208655302741918'],
  ['the longest', `BR.${'aZ9'.repeat(42)}12`],
  ['of a parent account', 'US.ENT.506847293015824'],
  ['the longest of a parent account', `BR.ENT.${'aZ9'.repeat(42)}12`],
  ['whose letters begin as a parent id does', 'US.ENT506847293015824'],
])('a user id: %s', (_what, text) => {
  expect(text).toMatch(USER_ID)
})

test.each([
  ['nothing after the country', 'US.'],
  ['nothing after the mark of a parent', 'US.ENT.'],
  ['one character too many', `BR.${'a'.repeat(129)}`],
  ['a country in lower case', 'us.123'],
  ['a country of one letter', 'U.123'],
  ['a country of three letters', 'USA.123'],
  ['no dot', 'US123'],
  ['another character in place of the dot', 'US-123'],
  ['another character after the mark of a parent', 'US.ENT-123'],
  ['another mark', 'US.ORG.123'],
  ['the mark twice', 'US.ENT.ENT.123'],
  ['a hyphen', 'US.12-3'],
  ['a phone number', '15550101'],
  ['a letter before it', 'xUS.123'],
  ['a letter in front of the one of a parent', 'xUS.ENT.123'],
  ['nothing', ''],
  ['a country of other letters', 'ÄÖ.123'],
  ['other letters', 'US.ä'],
  ['one character too many after the mark of a parent', `US.ENT.${'a'.repeat(129)}`],
  ['a line break behind it', 'US.123\n'],
  ['a space behind it', 'US.123 '],
])('no user id: %s', (_what, text) => {
  expect(text).not.toMatch(USER_ID)
})
