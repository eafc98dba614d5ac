/**
 * Paging by position: a page begins after the last item of the page before, also when items were added meanwhile.
 *
 * A position is a time and an id. The time is text with microseconds: a Date rounds to milliseconds, and a rounded time would
 * skip or repeat items.
 */
import { sql } from 'kysely'

export type Position = {
  /** `2026-06-01T12:00:00.123456Z` */
  time: string
  id: string
}

export type Page<Item> = {
  items: Item[]
  /** The position after which the next page begins; undefined on the last page. */
  next: Position | undefined
}

/** SQL: the `time` of a position. */
export function positionTime(time: ReturnType<typeof sql>) {
  return sql<string>`to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
}

/** Cuts up to `limit + 1` rows to a page. The extra row only tells that there is a next page. */
export function cutPage<Row extends Position>(rows: readonly Row[], limit: number): Page<Row> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  const next = rows.length > limit && last !== undefined ? { time: last.time, id: last.id } : undefined
  return { items, next }
}
