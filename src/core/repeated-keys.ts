/**
 * Finds keys that an object has twice.
 *
 * JSON allows them, but JSON.parse keeps only the last value, so the others would be lost without a trace. In valid JSON
 * every colon outside of strings follows a key: when the text has more colons than the parsed value has keys, a key was
 * repeated.
 */
import { isRawJson } from './json-text.ts'

const [COLON, QUOTE, BACKSLASH] = Buffer.from(':"\\')

/** Whether an object anywhere in the text has a key twice. `value`: the result of `parseExact` for the text. */
export function hasRepeatedKey(text: string, value: unknown): boolean {
  const keys = countKeys(value)
  // The faster count first: it is right unless a string has a colon.
  return countOf(text, ':') > keys && countColons(text) > keys
}

function countOf(text: string, character: string): number {
  let count = 0
  for (let index = text.indexOf(character); index !== -1; index = text.indexOf(character, index + 1))
    count += 1
  return count
}

function countColons(text: string): number {
  let colons = 0
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charCodeAt(index)
    if (character === COLON) colons += 1
    else if (character === QUOTE) index = endOfString(text, index)
  }
  return colons
}

/** The index of the quote that ends the string which begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; ; index += 1) {
    index = text.indexOf('"', index)
    if (index === -1) return text.length
    let backslashes = 0
    while (text.charCodeAt(index - 1 - backslashes) === BACKSLASH) backslashes += 1
    if (backslashes % 2 === 0) return index
  }
}

/** Without recursion: the value may be nested to any depth. */
function countKeys(root: unknown): number {
  let keys = 0
  const open = [root]
  for (let current = open.pop(); current !== undefined; current = open.pop()) {
    if (typeof current !== 'object' || current === null || isRawJson(current)) continue
    const members: unknown[] = Array.isArray(current) ? current : Object.values(current)
    if (members !== current) keys += members.length
    for (const member of members) if (typeof member === 'object') open.push(member)
  }
  return keys
}
