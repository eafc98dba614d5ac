import { scrubText } from './json-text.ts'

/**
 * Why this text cannot be part of a unique key; undefined when it can. A key is never scrubbed or cut: it could then equal
 * another key, and its event would be dropped as a duplicate.
 */
export function keyProblem(text: string, maxBytes: number): string | undefined {
  if (Buffer.byteLength(text) > maxBytes) return `longer than ${maxBytes} bytes`
  return scrubText(text) === text ? undefined : 'with characters that PostgreSQL cannot store'
}
