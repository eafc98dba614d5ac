/** The state of the back-fill: how far it has read the provider's list, and which entries are stored already. */
import { type Kysely, sql } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { Database } from '../schema.ts'

export type BackfillKey = { provider: ProviderName; account: string }

/** The list has been read and stored up to this time; undefined before the first run. */
export async function readPosition(
  db: Kysely<Database>,
  { provider, account }: BackfillKey,
): Promise<Date | undefined> {
  const row = await db
    .selectFrom('backfill_positions')
    .select('position')
    .where('provider', '=', provider)
    .where('account', '=', account)
    .executeTakeFirst()
  return row?.position ?? undefined
}

/** The position only moves forward, also when two processes write it. */
export async function savePosition(
  db: Kysely<Database>,
  { provider, account }: BackfillKey,
  position: Date,
): Promise<void> {
  await sql`
    INSERT INTO backfill_positions (provider, account, position) VALUES (${provider}, ${account}, ${position})
    ON CONFLICT ON CONSTRAINT backfill_positions_pkey DO UPDATE SET position = excluded.position
    WHERE backfill_positions.position IS NULL OR backfill_positions.position < excluded.position`.execute(db)
}

/** Begins the next scheduled run when the interval is over. Of several callers one gets true. */
export async function beginScheduledRun(
  db: Kysely<Database>,
  { provider, account }: BackfillKey,
  intervalMs: number,
): Promise<boolean> {
  const { rows } = await sql`
    INSERT INTO backfill_positions (provider, account, started_at) VALUES (${provider}, ${account}, now())
    ON CONFLICT ON CONSTRAINT backfill_positions_pkey DO UPDATE SET started_at = excluded.started_at
    WHERE backfill_positions.started_at IS NULL
      OR backfill_positions.started_at <= now() - ${intervalMs} * interval '1 millisecond'
    RETURNING provider`.execute(db)
  return rows.length > 0
}

/** Time of the latest message in any conversation with the provider. */
export async function lastMessageAt(db: Kysely<Database>, provider: ProviderName): Promise<Date | undefined> {
  const { rows } = await sql<{ at: Date | null }>`
    SELECT max(last_message_at) AS at FROM conversations WHERE provider = ${provider}`.execute(db)
  return rows[0]?.at ?? undefined
}

/** Those of the messages that are stored, each with the statuses that are stored of it. */
export async function findStored(
  db: Kysely<Database>,
  waMessageIds: readonly string[],
): Promise<Map<string, Set<string>>> {
  if (waMessageIds.length === 0) return new Map()
  const { rows } = await sql<{ wa_message_id: string; words: string[] }>`
    SELECT m.wa_message_id, ARRAY(
      SELECT s.status FROM message_statuses s WHERE s.wa_message_id = m.wa_message_id AND s.participant = ''
    ) AS words
    FROM chat_messages m
    WHERE m.wa_message_id = ANY(${waMessageIds}::text[]) AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''`.execute(
    db,
  )
  return new Map(rows.map(({ wa_message_id, words }) => [wa_message_id, new Set(words)]))
}
