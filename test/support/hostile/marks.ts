/**
 * Marks: words of their own in every item that is sent, by which it is found again wherever the service has put it. What
 * is sent is not lost if each mark is in one row; it is not doubled if none is in two. That needs no second opinion on
 * how a webhook is to be read.
 */
export const MARK_KEY = 'fuzz_mark'
const MARK = /mk\d{9}x/g

export type Marker = {
  /** A mark that nothing else has. */
  mark(): string
  /** A short text that nothing else has, without the form of a mark. */
  unique(): string
}

export function createMarker(): Marker {
  let count = 0
  const next = () => String(++count).padStart(9, '0')
  return { mark: () => `mk${next()}x`, unique: () => `q${next()}` }
}

/** Every mark in these bytes, and in how many places it is. */
export function marksIn(bytes: Buffer | string): Map<string, number> {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('latin1')
  const marks = new Map<string, number>()
  for (const mark of text.match(MARK) ?? []) marks.set(mark, (marks.get(mark) ?? 0) + 1)
  return marks
}
