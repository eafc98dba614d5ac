/**
 * Derives columns of stored statuses from their payload again: time, errors, pricing, conversation; never the message, the
 * status or the participant. A message whose current status it is gets the new errors. Statuses that a later release ranks
 * are applied to their messages.
 */
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { EVENT_VERSION, type ProviderName, type WebhookEvent } from '../../core/event.ts'
import { announce } from '../announce.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { jsonbColumn, textColumn } from '../ingest/payload-columns.ts'
import { applyStatuses } from '../ingest/statuses.ts'
import { isStatusItem } from '../ingest/store-item.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { forEachBatch, type ReprocessOptions } from './batches.ts'
import type { Parser, ReprocessTally } from './messages.ts'

type StatusRow = {
  id: string
  provider: ProviderName
  wa_message_id: string
  status: string
  participant: string
  payload: string | null
  raw: Buffer | null
  received_at: Date
}

type DerivedRow = {
  id: string
  occurred_at: Date | null
  errors: string | null
  pricing: string | null
  conversation: string | null
}

const DERIVED = sql.raw('id bigint, occurred_at timestamptz, errors text, pricing text, conversation text')
const IS_DIFFERENT = sql.raw(`(s.occurred_at, s.errors, s.pricing, s.conversation)
  IS DISTINCT FROM (r.occurred_at, r.errors::jsonb, r.pricing::jsonb, r.conversation::jsonb)`)

export async function countStatusesToReprocess(
  db: Kysely<Database>,
  since: Date | undefined,
): Promise<number> {
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM message_statuses WHERE ${isToReprocess(since)}`.execute(db)
  return Number(rows[0]?.count ?? 0)
}

/** Safe to stop, to repeat, and to run beside the service. */
export async function reprocessStatuses(
  db: Kysely<Database>,
  parser: Parser,
  options: ReprocessOptions,
): Promise<ReprocessTally> {
  const tally: ReprocessTally = { examined: 0, changed: 0, left: 0 }
  const select = (afterId: string) => sql<StatusRow>`
    SELECT id, provider, wa_message_id, status, participant, payload::text AS payload, raw, received_at
    FROM message_statuses WHERE id > ${afterId} AND ${isToReprocess(options.since)}`
  await forEachBatch(db, select, options, async (batch) => {
    const derived = batch.flatMap((row) => deriveColumns(row, parser))
    const differing = await findDiffering(db, derived)
    if (!options.isDryRun) {
      await updateStatuses(
        db,
        derived.filter(({ id }) => differing.has(id)),
      )
      await applyStatuses(
        db,
        batch.map((row) => row.wa_message_id),
      )
    }
    tally.examined += batch.length
    tally.changed += differing.size
    tally.left += batch.length - derived.length
  })
  return tally
}

function isToReprocess(since: Date | undefined): RawBuilder<unknown> {
  return sql`(payload IS NOT NULL OR raw IS NOT NULL)
    AND (${since ?? null}::timestamptz IS NULL OR received_at >= ${since ?? null})`
}

function deriveColumns(row: StatusRow, { reparse, normalize }: Parser): DerivedRow[] {
  const [job, ...others] = reparse(eventOf(row))
  if (job === undefined || others.length > 0) return []
  const item = { ...job, fact: normalize(job.event), withoutJsonb: row.payload === null }
  if (!isStatusItem(item)) return []
  const { wa_message_id, status, participant, occurred_at, errors, pricing, conversation } = item.fact
  const isSame =
    wa_message_id === row.wa_message_id &&
    textColumn(status) === row.status &&
    textColumn(participant) === row.participant
  if (!isSame) return []
  return [
    {
      id: row.id,
      occurred_at: occurred_at ?? null,
      errors: jsonbColumn(item, errors),
      pricing: jsonbColumn(item, pricing),
      conversation: jsonbColumn(item, conversation),
    },
  ]
}

function eventOf({ provider, wa_message_id, payload, raw, received_at }: StatusRow): WebhookEvent {
  return {
    v: EVENT_VERSION,
    kind: 'status',
    provider,
    received_at: received_at.getTime(),
    wa_message_id,
    payload: raw?.toString() ?? payload ?? 'null',
  }
}

async function findDiffering(db: Kysely<Database>, derived: readonly DerivedRow[]): Promise<Set<string>> {
  if (derived.length === 0) return new Set()
  const { rows } = await sql<{ id: string }>`
    SELECT s.id FROM message_statuses s
    JOIN json_to_recordset(${JSON.stringify(derived)}::json) AS r(${DERIVED}) ON r.id = s.id
    WHERE ${IS_DIFFERENT}`.execute(db)
  return new Set(rows.map(({ id }) => id))
}

/** Only this function updates statuses, so nothing has to be derived once more behind a lock. */
async function updateStatuses(db: Kysely<Database>, derived: readonly DerivedRow[]): Promise<void> {
  if (derived.length === 0) return
  await retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      await lockMergesShared(trx)
      await sql`
        WITH updated AS (
          UPDATE message_statuses s SET occurred_at = r.occurred_at, errors = r.errors::jsonb,
            pricing = r.pricing::jsonb, conversation = r.conversation::jsonb
          FROM json_to_recordset(${JSON.stringify(derived)}::json) AS r(${DERIVED})
          WHERE r.id = s.id AND ${IS_DIFFERENT}
          RETURNING s.wa_message_id, s.status, s.participant, s.errors
        ), concerned AS (
          SELECT m.id, u.errors FROM chat_messages m JOIN updated u ON u.wa_message_id = m.wa_message_id
          WHERE m.wa_message_id <> '' AND m.status = u.status AND u.participant = ''
            AND m.error IS DISTINCT FROM u.errors
          ORDER BY m.wa_message_id FOR NO KEY UPDATE OF m
        ), updated_messages AS (
          UPDATE chat_messages m SET error = c.errors, updated_at = now() FROM concerned c WHERE c.id = m.id
          RETURNING m.id, m.conversation_id
        )
        ${announce('message.updated', 'updated_messages')}`.execute(trx)
    }),
  )
}
