import { scrubText } from './json-text.ts'

/**
 * Why this text cannot be part of a unique key, or undefined where it can. A key is never scrubbed or cut: it could then
 * meet another one, and what came under it would be taken for a duplicate and dropped.
 */
export function keyProblem(text: string, maxBytes: number): string | undefined {
  if (Buffer.byteLength(text) > maxBytes) return `longer than ${maxBytes} bytes`
  return scrubText(text) === text ? undefined : 'with characters that PostgreSQL cannot store'
}
