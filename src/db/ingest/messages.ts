/**
 * Writes messages, each once: the second net against duplicates, after the queue's.
 *
 * The unique index on wa_message_id decides, never a SELECT before the INSERT. A message that the index refuses is compared
 * with the stored row. Rows are inserted in the order of wa_message_id, so that two writers of the same messages cannot
 * deadlock.
 */
import { sql, type Transaction } from 'kysely'
import type { FinalOutcome } from '../../core/event.ts'
import { detailOf } from '../../core/fact.ts'
import { announce } from '../announce.ts'
import { indexableText } from '../contacts/identifiers.ts'
import { SQLSTATE } from '../errors.ts'
import type { Database } from '../schema.ts'
import { applyPlaceholders, type PlaceholderUpdate } from './history-placeholders.ts'
import {
  insertMessages,
  type MessageRow,
  messageRow,
  type PlacedMessage,
  RECORD,
  REPLACED_COLUMNS,
} from './insert-messages.ts'
import { fromRecord } from './message-columns.ts'
import { textColumn } from './payload-columns.ts'
import { statusOrder } from './status-order.ts'
import { setStatus } from './statuses.ts'

/** `reason`: of a parked message. `placeholderUpdate`: for `moveToPlaceholderConversations`. */
export type MessageOutcome = {
  outcome: FinalOutcome
  reason?: string
  placeholderUpdate?: PlaceholderUpdate
}

type ExistingRow = { wa_message_id: string; detail: number; provider: string; business_number: string }

/** Stores each message once. Outcomes are in the order of `placed`. */
export async function writeMessages(
  trx: Transaction<Database>,
  placed: readonly PlacedMessage[],
): Promise<MessageOutcome[]> {
  const best = bestCopies(placed)
  const rows = [...best.values()].map(messageRow).sort((a, b) => (a.wa_message_id < b.wa_message_id ? -1 : 1))
  const inserted = await insertMessages(trx, rows)
  const refused = rows.filter((row) => !inserted.has(row.wa_message_id))
  const compared =
    refused.length === 0 ? new Map<string, MessageOutcome>() : await compareWithStored(trx, refused, best)
  const outcomes = placed.map((message): MessageOutcome => {
    const id = message.item.fact.wa_message_id
    const ofBest = compared.get(id) ?? { outcome: 'stored' }
    return best.get(id) === message ? ofBest : outcomeOfCopy(message, best.get(id), ofBest)
  })
  const withPlaceholders = await applyLatePlaceholders(trx, placed, outcomes)
  return applyStatusesOfCopies(trx, placed, withPlaceholders)
}

/**
 * A message can come with a status: an echo is sent, the history says read. The greatest status of all copies counts, also
 * that of a copy which brings nothing else, so that the order of the copies does not matter. A placeholder that updates its
 * message brings the status with it.
 */
async function applyStatusesOfCopies(
  trx: Transaction<Database>,
  placed: readonly PlacedMessage[],
  outcomes: readonly MessageOutcome[],
): Promise<MessageOutcome[]> {
  const updated = new Set(outcomes.map(({ placeholderUpdate }) => placeholderUpdate?.wa_message_id))
  const copies = placed.filter(
    ({ item: { fact } }, index) =>
      fact.status !== undefined &&
      isCopy(outcomes[index]) &&
      !(fact.is_placeholder && updated.has(fact.wa_message_id)),
  )
  const raised = copies.length === 0 ? new Set() : await raiseStatuses(trx, copies.map(messageRow))
  return placed.map(({ item: { fact } }, index) => {
    const outcome = outcomes[index] ?? { outcome: 'duplicate' }
    const isRaised = fact.status !== undefined && raised.has(statusKey(fact.wa_message_id, fact.status))
    return isRaised && outcome.outcome === 'duplicate' ? { outcome: 'merged' } : outcome
  })
}

/** Whether the message was stored before, by this batch or an earlier one. */
function isCopy(outcome: MessageOutcome | undefined): boolean {
  return outcome?.outcome === 'duplicate' || outcome?.outcome === 'merged'
}

/** A placeholder that came after its media brings no content, but knows the conversation of the message. */
async function applyLatePlaceholders(
  trx: Transaction<Database>,
  placed: readonly PlacedMessage[],
  outcomes: readonly MessageOutcome[],
): Promise<MessageOutcome[]> {
  const late = placed.filter(
    ({ item }, index) => item.fact.is_placeholder && outcomes[index]?.outcome === 'duplicate',
  )
  const updates = await applyPlaceholders(trx, late.map(messageRow))
  const updateOf = new Map(updates.map((update) => [update.wa_message_id, update]))
  return placed.map(({ item: { fact } }, index) => {
    const outcome = outcomes[index] ?? { outcome: 'duplicate' }
    const update = updateOf.get(fact.wa_message_id)
    if (!fact.is_placeholder || outcome.outcome !== 'duplicate' || update === undefined) return outcome
    // When a placeholder is in the batch twice, the second one is a duplicate.
    updateOf.delete(fact.wa_message_id)
    return { outcome: 'merged', placeholderUpdate: update }
  })
}

/** For each wa_message_id the copy with the highest `detail`; of equal ones the first. */
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

/** Of a copy that is not the best one of its batch. A copy of a parked message has nothing to do with the stored row either. */
function outcomeOfCopy(
  message: PlacedMessage,
  best: PlacedMessage | undefined,
  ofBest: MessageOutcome,
): MessageOutcome {
  const isSameNumber = best?.item.fact.business_number === message.item.fact.business_number
  if (!isSameNumber) return { outcome: 'parked', reason: OTHER_NUMBER }
  return ofBest.outcome === 'parked' ? ofBest : { outcome: 'duplicate' }
}

const OTHER_NUMBER = 'wa_message_id is already stored for another business number'

/**
 * The outcome of every message that the index refused: `duplicate`, `merged` when it replaces content of the stored row, or
 * `parked` when the stored row is of another business number.
 */
async function compareWithStored(
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
    const stored = existing.get(row.wa_message_id)
    if (stored === undefined) throw new RowVanishedError()
    const fact = best.get(row.wa_message_id)?.item.fact
    // '': a row adopted from an older application, which did not know the business number.
    const isSameNumber =
      stored.provider === row.provider &&
      (stored.business_number === '' || stored.business_number === indexableText(fact?.business_number ?? ''))
    if (!isSameNumber) outcomes.set(row.wa_message_id, { outcome: 'parked', reason: OTHER_NUMBER })
    else if (stored.detail >= row.detail) outcomes.set(row.wa_message_id, { outcome: 'duplicate' })
    else {
      better.push(row)
      outcomes.set(row.wa_message_id, { outcome: 'merged' })
    }
  }
  if (better.length > 0) await replaceContent(trx, better)
  return outcomes
}

/** The stored row that refused a message was removed before it could be read. */
class RowVanishedError extends Error {
  override name = 'RowVanishedError'
  /** Callers run the batch again after this state. */
  code = SQLSTATE.SERIALIZATION_FAILURE
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
        sender_contact_id = coalesce(r.sender_contact_id, m.sender_contact_id),
        updated_at = now()
      FROM json_to_recordset(${JSON.stringify(rows)}::json) AS r(${sql.raw(RECORD)})
      WHERE m.wa_message_id = r.wa_message_id AND m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
      RETURNING m.id, m.conversation_id
    )
    ${announce('message.updated', 'replaced')}`.execute(trx)
}

/** Sets the status of each message to the greatest one of the copies, if it is ahead. Returns the keys of those that are. */
async function raiseStatuses(
  trx: Transaction<Database>,
  copies: readonly MessageRow[],
): Promise<Set<string>> {
  const { rows } = await sql<{ wa_message_id: string; status: string }>`
    WITH greatest AS (
      SELECT DISTINCT ON (wa_message_id) * FROM json_to_recordset(${JSON.stringify(copies)}::json)
        AS r (wa_message_id text, direction text, status text, error text)
      ORDER BY wa_message_id, ${sql.raw(statusOrder('r.status'))} DESC
    ), ahead AS (
      SELECT m.id, g.wa_message_id, g.status, g.error::jsonb AS errors
      FROM greatest g JOIN chat_messages m ON m.wa_message_id = g.wa_message_id AND m.direction = g.direction
      WHERE m.wa_message_id IS NOT NULL AND m.wa_message_id <> ''
        AND ${sql.raw(`${statusOrder('g.status')} > ${statusOrder('m.status')}`)}
      ORDER BY m.wa_message_id FOR NO KEY UPDATE OF m
    ), ${setStatus('ahead')}
    SELECT wa_message_id, status FROM ahead`.execute(trx)
  return new Set(rows.map((row) => statusKey(row.wa_message_id, row.status)))
}

function statusKey(waMessageId: string, status: string): string {
  return JSON.stringify([waMessageId, textColumn(status)])
}

function detail({ item }: PlacedMessage): number {
  return detailOf(item.fact.source, item.fact.is_placeholder)
}
