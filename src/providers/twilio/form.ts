/**
 * `application/x-www-form-urlencoded` bodies, read so that nothing of them is lost.
 *
 * Order and repetition of fields are kept, a field may be called `__proto__`, a percent sign that encodes nothing stands
 * for itself. Bytes that are no UTF-8 survive as lone surrogates (U+DC80 to U+DCFF, as Python's `surrogateescape` has
 * it): JSON text carries those unchanged, and they cannot be mistaken for anything that valid UTF-8 decodes to.
 */
import { isUtf8 } from 'node:buffer'

export type FormField = { name: string; value: string }

const [AMPERSAND, EQUALS, PERCENT, PLUS, SPACE] = [0x26, 0x3d, 0x25, 0x2b, 0x20] as const
const NOTHING = Buffer.alloc(0)

/** One match is either a run of whole UTF-8 sequences or a single byte that belongs to none (the last alternative). */
const UTF8_RUN_OR_BYTE =
  /(?:[^\x80-\xff]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}){1,4096}|[\x80-\xff]/g

/** The fields in their order. Never throws: every body is a form, if only one with odd names. */
export function parseForm(rawBody: Buffer, decode: (bytes: Buffer) => string = decodeExactly): FormField[] {
  const fields: FormField[] = []
  for (let start = 0; start < rawBody.length; ) {
    const separator = rawBody.indexOf(AMPERSAND, start)
    const pair = rawBody.subarray(start, separator === -1 ? rawBody.length : separator)
    start += pair.length + 1
    if (pair.length === 0) continue
    const equals = pair.indexOf(EQUALS)
    const name = equals === -1 ? pair : pair.subarray(0, equals)
    const value = equals === -1 ? NOTHING : pair.subarray(equals + 1)
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
function decodeExactly(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8')
  return bytes.toString('latin1').replace(UTF8_RUN_OR_BYTE, (run) => {
    const isStrayByte = run.length === 1 && run.charCodeAt(0) >= 0x80
    return isStrayByte
      ? String.fromCharCode(0xdc00 + run.charCodeAt(0))
      : Buffer.from(run, 'latin1').toString('utf8')
  })
}

function percentDecode(bytes: Buffer): Buffer {
  if (!bytes.includes(PERCENT) && !bytes.includes(PLUS)) return bytes
  const decoded = Buffer.allocUnsafe(bytes.length)
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    const escaped = byte === PERCENT ? hexValue(bytes[at + 1]) * 16 + hexValue(bytes[at + 2]) : Number.NaN
    if (!Number.isNaN(escaped)) at += 2
    decoded[length++] = Number.isNaN(escaped) ? (byte === PLUS ? SPACE : byte) : escaped
  }
  return decoded.subarray(0, length)
}

/** 0 to 15, NaN for what is no hexadecimal digit. */
function hexValue(byte: number | undefined): number {
  if (byte === undefined) return Number.NaN
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : Number.NaN
}
