/**
 * Paging by position: a page begins behind the last item of the one before, wherever that is by then.
 *
 * A position is a time and an id. The time is text with microseconds, because a Date would round it, and a rounded time
 * skips or repeats what stands beside it.
 */
import { sql } from 'kysely'

export type Position = {
  /** `2026-06-01T12:00:00.123456Z` */
  time: string
  id: string
}

export type Page<Item> = {
  items: Item[]
  /** Where the next page begins; undefined on the last one. */
  next: Position | undefined
}

/** SQL for the `time` of a position. */
export function positionTime(time: ReturnType<typeof sql>) {
  return sql<string>`to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
}

/** Of `limit + 1` rows, asked for to see whether there are more, the page and where the next one begins. */
export function cutPage<Row extends Position>(rows: readonly Row[], limit: number): Page<Row> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  const next = rows.length > limit && last !== undefined ? { time: last.time, id: last.id } : undefined
  return { items, next }
}
