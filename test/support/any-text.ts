/**
 * Any text for properties, a good part of it ASCII: lone surrogates, characters beyond U+FFFF and U+0000 too. fast-check's own unit
 * `binary` needs more than a second for its list of all characters, in each test file that uses it.
 */
import fc from 'fast-check'

export const anyCharacter: fc.Arbitrary<string> = fc.oneof(
  fc.integer({ min: 0, max: 0x7f }).map((code) => String.fromCharCode(code)),
  fc.integer({ min: 0, max: 0x10ffff }).map((code) => String.fromCodePoint(code)),
  fc.integer({ min: 0xd800, max: 0xdfff }).map((code) => String.fromCharCode(code)),
  fc.constantFrom('\u0000', '"', '\\', ':', '\ud83d\ude00'),
)

export function anyText(maxLength?: number): fc.Arbitrary<string> {
  return fc.string({ unit: anyCharacter, ...(maxLength === undefined ? {} : { maxLength }) })
}
