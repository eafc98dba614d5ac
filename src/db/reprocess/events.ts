/**
 * Reprocesses parked events, after a release that understands them, and events that an earlier release kept without reading
 * them (`keptFields`).
 *
 * The stored bytes are parsed again, and the event store stores the result like a new webhook. When all of it is stored, the
 * parked row gets `reprocessed_at` and stays, with its reason and bytes. A row that is still not understood stays as it is.
 * Safe to repeat: an event that was stored and not yet marked is a duplicate the next time.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import type { FinalOutcome } from '../../core/event.ts'
import { EVENT_VERSION, type EventKind, type ProviderName, type WebhookEvent } from '../../core/event.ts'
import { indexableText } from '../contacts/identifiers.ts'
import { addCounts } from '../counters.ts'
import { classifyWriteFailure, sqlStateOf } from '../errors.ts'
import type { EventStore } from '../ingest/event-store.ts'
import { textColumn } from '../ingest/payload-columns.ts'
import type { StoreItem } from '../ingest/store-item.ts'
import type { Database } from '../schema.ts'
import { forEachBatch, type ReprocessOptions } from './batches.ts'
import type { Parser } from './messages.ts'

export type ParkedTally = {
  examined: number
  /** Were stored. In a dry run: are understood. */
  recovered: number
  still_parked: number
  /** Of those still parked, by reason. */
  reasons: Record<string, number>
}

type ParkedRow = {
  id: string
  event_key: string
  provider: ProviderName
  kind: EventKind
  field: string | null
  account: string | null
  business_number: string | null
  wa_message_id: string | null
  context: string | null
  raw: Buffer
  /** Null: not parked, but kept. */
  reason: string | null
  received_at: Date
}

export async function countParkedEvents(
  db: Kysely<Database>,
  { keptFields }: Parser,
  since: Date | undefined,
): Promise<number> {
  const { rows } = await sql<{ count: string }>`
    SELECT count(*) AS count FROM webhook_events WHERE ${isToRead(keptFields, since)}`.execute(db)
  return Number(rows[0]?.count ?? 0)
}

/**
 * Safe to stop, to repeat, and to run beside the service.
 * `store`: one that does not count, because these events were counted when they came.
 * @throws the driver's error when the database does not take an event.
 */
export async function reprocessParkedEvents(
  { db, store, parser }: { db: Kysely<Database>; store: EventStore; parser: Parser },
  options: ReprocessOptions,
): Promise<ParkedTally> {
  const tally: ParkedTally = { examined: 0, recovered: 0, still_parked: 0, reasons: {} }
  const select = (afterId: string) => sql<ParkedRow>`
    SELECT id, event_key, provider, kind, field, account, business_number, wa_message_id, context::text AS context,
      NULL::text AS payload, raw, reason, received_at
    FROM webhook_events WHERE id > ${afterId} AND ${isToRead(parser.keptFields, options.since)}`
  await forEachBatch(db, select, options, async (batch) => {
    const retries = batch.map((row) => ({ row, items: itemsOf(row, parser) }))
    const understood = retries.filter(isUnderstood)
    const recovered = options.isDryRun ? understood : await retryAll({ db, store }, understood)
    const recoveredIds = new Set(recovered.map(({ row }) => row.id))
    for (const { id, reason } of batch) {
      if (recoveredIds.has(id)) count(tally, undefined)
      else if (reason !== null) count(tally, reason)
    }
  })
  return tally
}

function isToRead(keptFields: readonly string[], since: Date | undefined): RawBuilder<unknown> {
  return sql`(reason IS NOT NULL OR kind = 'other' AND field = ANY(${keptFields}::text[])) AND reprocessed_at IS NULL
    AND (${since ?? null}::timestamptz IS NULL OR received_at >= ${since ?? null})`
}

function count(tally: ParkedTally, reason: string | undefined): void {
  tally.examined += 1
  if (reason === undefined) tally.recovered += 1
  else {
    tally.still_parked += 1
    tally.reasons[reason] = (tally.reasons[reason] ?? 0) + 1
  }
}

function itemsOf(row: ParkedRow, { reparse, normalize }: Parser): StoreItem[] {
  const items = reparse(eventOf(row)).map((job) => ({ ...job, fact: normalize(job.event) }))
  const [only] = items
  // The event itself, which is stored: it must not be stored again under another key.
  const isItself = row.reason === null && items.length === 1 && only?.fact.kind === 'other'
  return isItself ? items.map((item) => ({ ...item, job_id: row.event_key })) : items
}

/** A kept event is understood when there is more in it than the event that is stored. */
function isUnderstood({ row, items }: Retry): boolean {
  if (row.reason !== null) return items.some(({ fact }) => fact.kind !== 'parked')
  return items.some(({ fact }) =>
    fact.kind === 'other' ? fact.control !== undefined : fact.kind !== 'parked',
  )
}

function eventOf(row: ParkedRow): WebhookEvent {
  const { provider, kind, field, account, business_number, wa_message_id, context, raw, received_at } = row
  return {
    v: EVENT_VERSION,
    kind,
    provider,
    received_at: received_at.getTime(),
    ...(wa_message_id === null ? {} : { wa_message_id }),
    ...(account === null ? {} : { account }),
    ...(business_number === null ? {} : { business_number }),
    ...(field === null ? {} : { field }),
    ...(context === null ? {} : { context }),
    payload: kind === 'unreadable' ? raw.toString('base64') : raw.toString(),
  }
}

type Retry = { row: ParkedRow; items: StoreItem[] }
/** `refused`: PostgreSQL refuses the item still, for a reason of a user's own. */
type StoredItem = { item: StoreItem; outcome: FinalOutcome }
type TriedItem = StoredItem | { item: StoreItem; outcome: 'refused' }

/** Stores the events of each retry. Returns the retries whose events are all in their tables. */
async function retryAll(
  { db, store }: { db: Kysely<Database>; store: EventStore },
  retries: readonly Retry[],
): Promise<Retry[]> {
  const stored = await Promise.all(
    retries.map(({ items }) => Promise.all(items.map((item) => storeItem(store, item)))),
  )
  const recovered: Retry[] = []
  for (const [index, retry] of retries.entries()) {
    const results = (stored[index] ?? []).filter((tried) => tried.outcome !== 'refused')
    if (results.length < retry.items.length || !(await areAllStored(db, results, retry.row))) continue
    await db.transaction().execute((trx) => markReprocessed(trx, retry.row, results))
    recovered.push(retry)
  }
  return recovered
}

/** @throws the driver's error when the database takes no items: it is away, or lacks a table, a column or a right */
async function storeItem(store: EventStore, item: StoreItem): Promise<TriedItem> {
  const result = await store.store(item)
  if (result.outcome !== 'retry') return { item, outcome: result.outcome }
  const isOfDatabase =
    classifyWriteFailure(result.cause) !== 'refused' || sqlStateOf(result.cause)?.startsWith('42')
  if (!result.isOnlyThis && isOfDatabase) throw result.cause
  return { item, outcome: 'refused' }
}

async function areAllStored(
  db: Kysely<Database>,
  stored: readonly StoredItem[],
  row: ParkedRow,
): Promise<boolean> {
  for (const one of stored) if (!(await isStored(db, one, row))) return false
  return true
}

/**
 * Whether the item has its row. A `duplicate` does not say so by itself: the row that it equals may be the parked one that is
 * being retried.
 */
async function isStored(
  db: Kysely<Database>,
  { item, outcome }: StoredItem,
  row: ParkedRow,
): Promise<boolean> {
  const { fact } = item
  if (outcome !== 'duplicate' || fact.kind === 'other') return true
  if (fact.kind === 'parked') return item.job_id !== row.event_key
  const found =
    fact.kind === 'message'
      ? await sql`
          SELECT FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
          WHERE m.wa_message_id = ${fact.wa_message_id} AND m.wa_message_id <> ''
            AND c.provider = ${fact.provider} AND c.business_number = ${indexableText(fact.business_number)}`.execute(
          db,
        )
      : await sql`
          SELECT FROM message_statuses WHERE wa_message_id = ${fact.wa_message_id}
            AND status = ${textColumn(fact.status)} AND participant = ${textColumn(fact.participant)}`.execute(
          db,
        )
  return found.rows.length > 0
}

/** Marks the row, once, and counts its events: of a parked one instead of it, of a kept one beside it. */
async function markReprocessed(
  trx: Transaction<Database>,
  { id, event_key, reason }: ParkedRow,
  stored: readonly StoredItem[],
): Promise<void> {
  const { rows } = await sql`
    UPDATE webhook_events SET reprocessed_at = now() WHERE id = ${id} AND reprocessed_at IS NULL
    RETURNING id`.execute(trx)
  if (rows.length === 0) return
  const events = reason === null ? stored.filter(({ item }) => item.job_id !== event_key) : stored
  const counted = (outcome: FinalOutcome) => events.filter((one) => one.outcome === outcome).length
  await addCounts(trx, {
    stored: counted('stored'),
    merged: counted('merged'),
    duplicates_database: counted('duplicate'),
    parked: counted('parked') - (reason === null ? 0 : 1),
  })
}
