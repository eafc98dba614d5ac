/**
 * `application/x-www-form-urlencoded` bodies, read so that nothing of them is lost.
 *
 * Order and repetition of fields are kept, a field may be called `__proto__`, a percent sign that encodes nothing stands
 * for itself. Bytes that are no UTF-8 survive as lone surrogates (U+DC80 to U+DCFF, as Python's `surrogateescape` has
 * it): JSON text carries those unchanged, and they cannot be mistaken for anything that valid UTF-8 decodes to.
 */
import { isUtf8 } from 'node:buffer'

export type FormField = { name: string; value: string }

/** One match is either a run of whole UTF-8 sequences or a single byte that belongs to none (the last alternative). */
const UTF8_RUN_OR_BYTE =
  /(?:[^\x80-\xff]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}){1,4096}|[\x80-\xff]/g

/** The fields in their order. Never throws: every body is a form, if only one with odd names. */
export function parseForm(rawBody: Buffer, decode: (bytes: Buffer) => string = decodeExactly): FormField[] {
  const fields: FormField[] = []
  // latin1 maps every byte to one character and back, so that the body can be cut as text and decoded afterwards.
  for (const pair of rawBody.toString('latin1').split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = equals === -1 ? pair : pair.slice(0, equals)
    const value = equals === -1 ? '' : pair.slice(equals + 1)
    fields.push({ name: decode(percentDecode(name)), value: decode(percentDecode(value)) })
  }
  return fields
}

/** JSON text of a form as one object: a string for a field that came once, an array for one that came more often. */
export function formToJson(fields: readonly FormField[]): string {
  const values = new Map<string, string[]>()
  for (const { name, value } of fields) {
    const known = values.get(name)
    if (known === undefined) values.set(name, [value])
    else known.push(value)
  }
  const members = [...values].map(
    ([name, all]) => `${JSON.stringify(name)}:${JSON.stringify(all.length === 1 ? all[0] : all)}`,
  )
  return `{${members.join(',')}}`
}

/** UTF-8; what is none becomes U+FFFD. */
export function decodeReplacing(bytes: Buffer): string {
  return bytes.toString('utf8')
}

/** UTF-8; a byte that belongs to none becomes U+DC00 plus the byte. */
export function decodeExactly(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8')
  return bytes.toString('latin1').replace(UTF8_RUN_OR_BYTE, (run) => {
    const isStrayByte = run.length === 1 && run.charCodeAt(0) >= 0x80
    return isStrayByte ? String.fromCharCode(0xdc00 + run.charCodeAt(0)) : fromLatin1(run).toString('utf8')
  })
}

function percentDecode(text: string): Buffer {
  const spaced = text.replaceAll('+', ' ')
  if (!spaced.includes('%')) return fromLatin1(spaced)
  return fromLatin1(
    spaced.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
  )
}

function fromLatin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
