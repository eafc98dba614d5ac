/** Rows of a run's events in the database. */
import { type Kysely, sql } from 'kysely'
import type { Database } from '../../db/schema.ts'
import type { EventKey } from './traffic.ts'

/** `message ID` or `status WORD ID`: one text for each event. */
export function nameOfEvent(key: EventKey): string {
  return key.kind === 'message' ? `message ${key.wa_message_id}` : `status ${key.status} ${key.wa_message_id}`
}

/** How many rows each event has, in the order of `keys`. */
export async function countRows(db: Kysely<Database>, keys: readonly EventKey[]): Promise<number[]> {
  const counts = new Map([
    ...(await countMessages(db, idsOf(keys, 'message'))),
    ...(await countStatuses(db, idsOf(keys, 'status'))),
  ])
  return keys.map((key) => counts.get(nameOfEvent(key)) ?? 0)
}

/** How many of these events are parked in `webhook_events`, for each reason. */
export async function countParked(
  db: Kysely<Database>,
  keys: readonly EventKey[],
): Promise<Map<string, number>> {
  if (keys.length === 0) return new Map()
  const ids = [...new Set(keys.map((key) => key.wa_message_id))]
  const { rows } = await sql<{ reason: string; events: number }>`
    SELECT reason, count(*)::int AS events FROM webhook_events
    WHERE reason IS NOT NULL AND wa_message_id = ANY(${ids}::text[])
    GROUP BY reason`.execute(db)
  return new Map(rows.map((row) => [row.reason, row.events]))
}

type Count = readonly [name: string, rows: number]

/** Names the predicate of the unique index, so that it serves. */
async function countMessages(db: Kysely<Database>, ids: readonly string[]): Promise<Count[]> {
  if (ids.length === 0) return []
  const { rows } = await sql<{ wa_message_id: string; rows: number }>`
    SELECT wa_message_id, count(*)::int AS rows FROM chat_messages
    WHERE wa_message_id = ANY(${ids}::text[]) AND wa_message_id IS NOT NULL AND wa_message_id <> ''
    GROUP BY wa_message_id`.execute(db)
  return rows.map((row) => [nameOfEvent({ kind: 'message', ...row }), row.rows])
}

/** Of every participant: a status to one person has none, so a second participant is a second copy. */
async function countStatuses(db: Kysely<Database>, ids: readonly string[]): Promise<Count[]> {
  if (ids.length === 0) return []
  const { rows } = await sql<{ wa_message_id: string; status: string; rows: number }>`
    SELECT wa_message_id, status, count(*)::int AS rows FROM message_statuses
    WHERE wa_message_id = ANY(${ids}::text[])
    GROUP BY wa_message_id, status`.execute(db)
  return rows.map((row) => [nameOfEvent({ kind: 'status', ...row }), row.rows])
}

function idsOf(keys: readonly EventKey[], kind: EventKey['kind']): string[] {
  return [...new Set(keys.flatMap((key) => (key.kind === kind ? [key.wa_message_id] : [])))]
}
