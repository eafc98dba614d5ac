/**
 * Applies statuses that are stored and were not applied: a process was killed between giving a message its id and applying the
 * statuses that had come first. Earlier versions did so in two transactions; now it takes a status that is stored at that very
 * moment (ingest/merge-messages.ts).
 */
import { type Kysely, sql } from 'kysely'
import { statusOrder } from '../ingest/status-order.ts'
import { applyStatuses } from '../ingest/statuses.ts'
import type { Database } from '../schema.ts'

export type RepairPage = {
  /** Only statuses with a lower id: the result of the page before. Absent for the newest. */
  beforeId?: string | undefined
  limit: number
  /** Older statuses are left alone. */
  maxAgeMs: number
}

/**
 * Applies the statuses of messages that were sent through the API and are behind one of these statuses. Returns where the next
 * page begins; undefined when this was the last one. Safe to repeat.
 */
export async function repairStatuses(
  db: Kysely<Database>,
  { beforeId, limit, maxAgeMs }: RepairPage,
): Promise<string | undefined> {
  const { rows } = await sql<{ next_id: string | null; behind: string[] }>`
    WITH page AS (
      SELECT id, wa_message_id, status, created_at FROM message_statuses
      WHERE id < coalesce(${beforeId ?? null}::bigint, 9223372036854775807) ORDER BY id DESC LIMIT ${limit}
    ), young AS (
      SELECT * FROM page WHERE created_at >= now() - ${maxAgeMs} * interval '1 millisecond'
    )
    SELECT min(id) FILTER (WHERE (SELECT count(*) FROM young) = ${limit}::integer) AS next_id, ARRAY(
      SELECT DISTINCT y.wa_message_id FROM young y JOIN chat_messages m ON m.wa_message_id = y.wa_message_id
      WHERE m.source = 'api' AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
        AND wa_status_rank(y.status) IS NOT NULL
        AND ${sql.raw(`${statusOrder('m.status')} < ${statusOrder('y.status')}`)}
    ) AS behind
    FROM young`.execute(db)
  const [page] = rows
  await applyStatuses(db, page?.behind ?? [])
  return page?.next_id ?? undefined
}
