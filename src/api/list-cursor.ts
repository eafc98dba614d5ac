/** Cursors of lists: a position in base64url, so that clients treat it as opaque. */
import { z } from 'zod'
import type { Page, Position } from '../db/views/paging.ts'

const position = z.tuple([
  z
    .string()
    .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    .refine(isRealTime),
  z.string().regex(/^[1-9]\d{0,17}$/),
])

/** Parses a cursor that listAnswer has made; any other text is an error. */
export const listCursor = z.string().transform((text, context): Position => {
  const parsed = position.safeParse(parseOrNothing(text))
  if (parsed.success) return { time: parsed.data[0], id: parsed.data[1] }
  context.addIssue('This is no cursor of this list. Send `next_cursor` as it was given, or leave it out.')
  return z.NEVER
})

/** The body of the answer to a list request. */
export function listAnswer<Item>({ items, next }: Page<Item>) {
  return { items, next_cursor: next === undefined ? null : cursorOf(next) }
}

function cursorOf({ time, id }: Position): string {
  return Buffer.from(JSON.stringify([time, id])).toString('base64url')
}

function parseOrNothing(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString())
  } catch {
    return undefined
  }
}

/** PostgreSQL refuses 30 February, which JavaScript's Date reads as 2 March. */
function isRealTime(text: string): boolean {
  const time = Date.parse(text)
  return !Number.isNaN(time) && new Date(time).toISOString().slice(0, 19) === text.slice(0, 19)
}
