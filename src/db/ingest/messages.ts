/**
 * Writing messages: the second net.
 *
 * The unique index on wa_message_id decides, never a look before the write: whatever the index refuses is compared
 * with the row that was there first. Rows go in ordered by wa_message_id, so that two writers with the same messages
 * wait for each other in the same order and cannot deadlock.
 */
import { sql, type Transaction } from 'kysely'
import { detailOf } from '../../core/fact.ts'
import type { FinalOutcome } from '../../core/outcome.ts'
import { announce } from '../announce.ts'
import { indexableText } from '../contacts/identifiers.ts'
import type { Database } from '../schema.ts'
import { applyPlaceholders, type PlaceholderUpdate } from './history-placeholders.ts'
import { CONTENT_COLUMNS, contentColumns, fromRecord, recordDefinition } from './message-columns.ts'
import { jsonbColumn, payloadColumns, textColumn } from './payload-columns.ts'
import type { MessageItem } from './store-item.ts'

/** Where a message belongs, resolved before it is written. */
export type PlacedMessage = { item: MessageItem; conversation_id: string; sender_contact_id: string | null }

/** `filed`: where the message is, and where it belongs. */
export type MessageOutcome = { outcome: FinalOutcome; reason?: string; filed?: PlaceholderUpdate }

type MessageRow = ReturnType<typeof messageRow>
type ExistingRow = { wa_message_id: string; detail: number; provider: string; business_number: string }

/** What a copy that knows more replaces. */
const REPLACED_COLUMNS = {
  source: 'text',
  detail: 'smallint',
  payload: 'jsonb',
  raw: 'bytea',
  ...CONTENT_COLUMNS,
} as const

const IDENTITY_COLUMNS = {
  conversation_id: 'bigint',
  direction: 'text',
  provider: 'text',
  wa_message_id: 'text',
  sender_contact_id: 'bigint',
  status: 'text',
  error: 'jsonb',
  sent_at: 'timestamptz',
  received_at: 'timestamptz',
} as const

const COLUMNS = { ...IDENTITY_COLUMNS, ...REPLACED_COLUMNS }

/** `json_to_recordset` takes every row in one parameter, so the statement's text never changes. */
const RECORD = recordDefinition(COLUMNS)

/** Stores each message once. Outcomes come in the order of `placed`. */
export async function writeMessages(
  trx: Transaction<Database>,
  placed: readonly PlacedMessage[],
): Promise<MessageOutcome[]> {
  const best = bestCopies(placed)
  const rows = [...best.values()].map(messageRow).sort((a, b) => (a.wa_message_id < b.wa_message_id ? -1 : 1))
  const inserted = await insertMessages(trx, rows)
  const refused = rows.filter((row) => !inserted.has(row.wa_message_id))
  const compared =
    refused.length === 0 ? new Map<string, MessageOutcome>() : await compare(trx, refused, best)
  const outcomes = placed.map((message): MessageOutcome => {
    const id = message.item.fact.wa_message_id
    if (best.get(id) !== message) return duplicateOf(message, best.get(id))
    return compared.get(id) ?? { outcome: 'stored' }
  })
  return takeFromPlaceholders(trx, placed, outcomes)
}

/** A placeholder that knows less than what is there still knows where that belongs. */
async function takeFromPlaceholders(
  trx: Transaction<Database>,
  placed: readonly PlacedMessage[],
  outcomes: readonly MessageOutcome[],
): Promise<MessageOutcome[]> {
  const late = placed.filter(
    ({ item }, index) => item.fact.is_placeholder && outcomes[index]?.outcome === 'duplicate',
  )
  const rows = new Map(late.map((message) => [message.item.fact.wa_message_id, messageRow(message)]))
  const filed = await applyPlaceholders(trx, [...rows.values()])
  const changed = new Map(filed.map((message) => [message.wa_message_id, message]))
  return placed.map(({ item: { fact } }, index) => {
    const outcome = outcomes[index] ?? { outcome: 'duplicate' }
    const message = changed.get(fact.wa_message_id)
    if (!fact.is_placeholder || outcome.outcome !== 'duplicate' || message === undefined) return outcome
    // Of a placeholder that came twice in the batch only the first has added anything.
    changed.delete(fact.wa_message_id)
    return { outcome: 'merged', filed: message }
  })
}

/** Of several copies in one batch, the first of those that know most. */
function bestCopies(placed: readonly PlacedMessage[]): Map<string, PlacedMessage> {
  const best = new Map<string, PlacedMessage>()
  for (const message of placed) {
    const known = best.get(message.item.fact.wa_message_id)
    if (known === undefined || detail(message) > detail(known)) {
      best.set(message.item.fact.wa_message_id, message)
    }
  }
  return best
}

function duplicateOf(message: PlacedMessage, kept: PlacedMessage | undefined): MessageOutcome {
  const isSameNumber = kept?.item.fact.business_number === message.item.fact.business_number
  return isSameNumber ? { outcome: 'duplicate' } : { outcome: 'parked', reason: OTHER_NUMBER }
}

const OTHER_NUMBER = 'wa_message_id is already stored for another business number'

/** Inserts, notes the change and moves the conversation's clock in one statement; conversations are locked in id order. */
async function insertMessages(trx: Transaction<Database>, rows: readonly MessageRow[]): Promise<Set<string>> {
  const result = await sql<{ wa_message_id: string }>`
    WITH inserted AS (
      INSERT INTO chat_messages (${sql.raw(Object.keys(COLUMNS).join(', '))})
      SELECT ${sql.raw(
        Object.entries(COLUMNS)
          .map(([name, type]) => fromRecord(name, type))
          .join(', '),
      )}
      FROM json_to_recordset(${JSON.stringify(rows)}::json) AS r(${sql.raw(RECORD)})
      ON CONFLICT (wa_message_id) WHERE wa_message_id IS NOT NULL AND wa_message_id <> '' DO NOTHING
      RETURNING id, conversation_id, wa_message_id, least(sent_at, received_at) AS happened_at
    ), latest AS (
      SELECT conversation_id, max(happened_at) AS happened_at FROM inserted GROUP BY conversation_id
    ), locked AS (
      SELECT c.id, l.happened_at FROM conversations c JOIN latest l ON l.conversation_id = c.id
      WHERE c.last_message_at IS NULL OR c.last_message_at < l.happened_at
      ORDER BY c.id FOR NO KEY UPDATE OF c
    ), touched AS (
      UPDATE conversations c SET last_message_at = greatest(c.last_message_at, locked.happened_at)
      FROM locked WHERE c.id = locked.id
    ), announced AS (${announce('message.created', 'inserted')})
    SELECT wa_message_id FROM inserted`.execute(trx)
  return new Set(result.rows.map((row) => row.wa_message_id))
}

/** Decides for every message that the index refused: duplicate, merged into what is there, or another number's. */
async function compare(
  trx: Transaction<Database>,
  refused: readonly MessageRow[],
  best: ReadonlyMap<string, PlacedMessage>,
): Promise<Map<string, MessageOutcome>> {
  const existing = await lockExisting(
    trx,
    refused.map((row) => row.wa_message_id),
  )
  const outcomes = new Map<string, MessageOutcome>()
  const better: MessageRow[] = []
  for (const row of refused) {
    const there = existing.get(row.wa_message_id)
    // The row that refused ours is gone again: whoever removed it is at work, so the batch runs once more.
    if (there === undefined) throw new RowVanishedError()
    const fact = best.get(row.wa_message_id)?.item.fact
    // '': rows taken over from another system, which did not know our number.
    const isSameNumber =
      there.provider === row.provider &&
      (there.business_number === '' || there.business_number === indexableText(fact?.business_number ?? ''))
    if (!isSameNumber) outcomes.set(row.wa_message_id, { outcome: 'parked', reason: OTHER_NUMBER })
    else if (there.detail >= row.detail) outcomes.set(row.wa_message_id, { outcome: 'duplicate' })
    else {
      better.push(row)
      outcomes.set(row.wa_message_id, { outcome: 'merged' })
    }
  }
  if (better.length > 0) await replaceContent(trx, better)
  return outcomes
}

/** The writer met a row that another session was just removing. */
export class RowVanishedError extends Error {
  override name = 'RowVanishedError'
  /** Treated like a serialization failure: the same batch runs again. */
  code = '40001'
}

async function lockExisting(
  trx: Transaction<Database>,
  ids: readonly string[],
): Promise<Map<string, ExistingRow>> {
  const { rows } = await sql<ExistingRow>`
    SELECT m.wa_message_id, m.detail, c.provider, c.business_number
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.wa_message_id = ANY(${ids}::text[]) AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
    ORDER BY m.wa_message_id FOR NO KEY UPDATE OF m`.execute(trx)
  return new Map(rows.map((row) => [row.wa_message_id, row]))
}

async function replaceContent(trx: Transaction<Database>, rows: readonly MessageRow[]): Promise<void> {
  const replacements = Object.entries(REPLACED_COLUMNS).map(
    ([name, type]) => `${name} = ${fromRecord(name, type)}`,
  )
  await sql`
    WITH replaced AS (
      UPDATE chat_messages m SET ${sql.raw(replacements.join(', '))},
        sent_at = coalesce(r.sent_at, m.sent_at),
        status = coalesce(m.status, r.status),
        sender_contact_id = coalesce(r.sender_contact_id, m.sender_contact_id),
        updated_at = now()
      FROM json_to_recordset(${JSON.stringify(rows)}::json) AS r(${sql.raw(RECORD)})
      WHERE m.wa_message_id = r.wa_message_id AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
      RETURNING m.id, m.conversation_id
    )
    ${announce('message.updated', 'replaced')}`.execute(trx)
}

function messageRow({ item, conversation_id, sender_contact_id }: PlacedMessage) {
  const { fact, event } = item
  return {
    conversation_id,
    direction: fact.direction,
    provider: fact.provider,
    wa_message_id: fact.wa_message_id,
    sender_contact_id,
    status: textColumn(fact.status),
    error: jsonbColumn(item, fact.error),
    sent_at: fact.sent_at ?? null,
    received_at: new Date(event.received_at),
    source: fact.source,
    detail: detailOf(fact.source, fact.is_placeholder),
    ...payloadColumns(item),
    ...contentColumns(item),
  }
}

function detail({ item }: PlacedMessage): number {
  return detailOf(item.fact.source, item.fact.is_placeholder)
}
