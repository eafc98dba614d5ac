/**
 * Derives the columns of stored messages from their payload again, after a release that reads payloads better.
 *
 * Content columns only: never the id, conversation, direction or status. A row whose payload is not that of its own message
 * is left alone: an older application or a back-fill wrote it. Rows are read without a lock; those that would change are
 * locked and derived once more.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import { EVENT_VERSION, type InboundJob, type ProviderName, type WebhookEvent } from '../../core/event.ts'
import type { Fact } from '../../core/fact.ts'
import { announce } from '../announce.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { CONTENT_COLUMNS, contentColumns, fromRecord, recordDefinition } from '../ingest/message-columns.ts'
import { jsonbColumn } from '../ingest/payload-columns.ts'
import { isMessageItem } from '../ingest/store-item.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import { forEachBatch, type ReprocessOptions } from './batches.ts'

/** The functions of src/providers that read payloads. */
export type Parser = {
  reparse(event: WebhookEvent): InboundJob[]
  normalize(event: WebhookEvent): Fact
  /** `webhook_events.field` of events that earlier versions kept whole, and this one reads. */
  keptFields: readonly string[]
}

export type ReprocessTally = {
  examined: number
  /** In a dry run: would change. */
  changed: number
  /** Rows whose payload is not that of their message or status, and which stay as they are. */
  left: number
}

/** Sources whose payload is the event as it came, and the kind of event in each direction. */
const KINDS = {
  webhook: { inbound: 'message', outbound: 'message' },
  echo: { inbound: 'echo', outbound: 'echo' },
  standby: { inbound: 'message', outbound: 'echo' },
  history: { inbound: 'history', outbound: 'history' },
} as const

type MessageRow = {
  id: string
  provider: ProviderName
  wa_message_id: string
  source: keyof typeof KINDS
  direction: 'inbound' | 'outbound'
  payload: string | null
  raw: Buffer | null
  received_at: Date | null
}

type DerivedRow = ReturnType<typeof contentColumns> & {
  id: string
  error: string | null
  sent_at: Date | null
}

const DERIVED = recordDefinition({ id: 'bigint', ...CONTENT_COLUMNS, error: 'jsonb', sent_at: 'timestamptz' })

/**
 * The column `error` belongs to the status as soon as the message has one. Where the payload has no time, `sent_at` stays:
 * a back-fill of Twilio's messages may have set it.
 */
const ASSIGNMENTS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(CONTENT_COLUMNS).map(([name, type]) => [name, fromRecord(name, type)]),
  ),
  error: 'CASE WHEN m.status IS NULL THEN r.error::jsonb ELSE m.error END',
  sent_at: 'coalesce(r.sent_at, m.sent_at)',
}
const NAMES = Object.keys(ASSIGNMENTS)
const IS_DIFFERENT = sql.raw(
  `(${NAMES.map((name) => `m.${name}`).join(', ')}) IS DISTINCT FROM (${Object.values(ASSIGNMENTS).join(', ')})`,
)

export async function countMessagesToReprocess(
  db: Kysely<Database>,
  since: Date | undefined,
): Promise<number> {
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM chat_messages WHERE ${isToReprocess(since)}`.execute(db)
  return Number(rows[0]?.count ?? 0)
}

/** Safe to stop, to repeat, and to run beside the service. Announces changed messages as 'message.updated'. */
export async function reprocessMessages(
  db: Kysely<Database>,
  parser: Parser,
  options: ReprocessOptions,
): Promise<ReprocessTally> {
  const tally: ReprocessTally = { examined: 0, changed: 0, left: 0 }
  const select = (afterId: string) => selectMessages(sql`id > ${afterId} AND ${isToReprocess(options.since)}`)
  await forEachBatch(db, select, options, async (batch) => {
    const derived = batch.flatMap((row) => deriveColumns(row, parser))
    const differing = await findDiffering(db, derived)
    const changed = options.isDryRun ? differing.length : await updateMessages(db, differing, parser)
    tally.examined += batch.length
    tally.changed += changed
    tally.left += batch.length - derived.length
  })
  return tally
}

function isToReprocess(since: Date | undefined): RawBuilder<unknown> {
  const sources = Object.keys(KINDS)
  return sql`source = ANY(${sources}::text[]) AND wa_message_id <> '' AND (payload IS NOT NULL OR raw IS NOT NULL)
    AND (${since ?? null}::timestamptz IS NULL OR received_at >= ${since ?? null})`
}

function selectMessages(condition: RawBuilder<unknown>): RawBuilder<MessageRow> {
  return sql<MessageRow>`
    SELECT id, provider, wa_message_id, source, direction, payload::text AS payload, raw, received_at
    FROM chat_messages WHERE ${condition}`
}

/** The row's columns as this release would store them; none where the payload is not that of this message. */
function deriveColumns(row: MessageRow, { reparse, normalize }: Parser): DerivedRow[] {
  const [job, ...others] = reparse(eventOf(row))
  if (job === undefined || others.length > 0 || job.event.wa_message_id !== row.wa_message_id) return []
  const item = { ...job, fact: normalize(job.event), withoutJsonb: row.payload === null }
  if (!isMessageItem(item)) return []
  const { error, sent_at } = item.fact
  return [{ id: row.id, ...contentColumns(item), error: jsonbColumn(item, error), sent_at: sent_at ?? null }]
}

function eventOf({
  provider,
  wa_message_id,
  source,
  direction,
  payload,
  raw,
  received_at,
}: MessageRow): WebhookEvent {
  return {
    v: EVENT_VERSION,
    kind: KINDS[source][direction],
    provider,
    received_at: received_at?.getTime() ?? 0,
    wa_message_id,
    payload: raw?.toString() ?? payload ?? 'null',
  }
}

async function findDiffering(db: Kysely<Database>, derived: readonly DerivedRow[]): Promise<string[]> {
  if (derived.length === 0) return []
  const { rows } = await sql<{ id: string }>`
    SELECT m.id FROM chat_messages m
    JOIN json_to_recordset(${JSON.stringify(derived)}::json) AS r(${sql.raw(DERIVED)}) ON r.id = m.id
    WHERE ${IS_DIFFERENT} ORDER BY m.id`.execute(db)
  return rows.map(({ id }) => id)
}

/** Locks the rows and derives once more, because another writer may have replaced a payload meanwhile. */
async function updateMessages(db: Kysely<Database>, ids: readonly string[], parser: Parser): Promise<number> {
  if (ids.length === 0) return 0
  return retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      await lockMergesShared(trx)
      const locked = await sql<MessageRow>`
        ${selectMessages(sql`id = ANY(${ids}::bigint[])`)} ORDER BY wa_message_id FOR NO KEY UPDATE`.execute(
        trx,
      )
      return writeColumns(
        trx,
        locked.rows.flatMap((row) => deriveColumns(row, parser)),
      )
    }),
  )
}

async function writeColumns(trx: Transaction<Database>, derived: readonly DerivedRow[]): Promise<number> {
  const assignments = Object.entries(ASSIGNMENTS).map(([name, value]) => `${name} = ${value}`)
  const { rows } = await sql<{ id: string }>`
    WITH updated AS (
      UPDATE chat_messages m SET ${sql.raw(assignments.join(', '))}, updated_at = now()
      FROM json_to_recordset(${JSON.stringify(derived)}::json) AS r(${sql.raw(DERIVED)})
      WHERE r.id = m.id AND ${IS_DIFFERENT}
      RETURNING m.id, m.conversation_id
    ), announced AS (${announce('message.updated', 'updated')})
    SELECT id FROM updated`.execute(trx)
  return rows.length
}
