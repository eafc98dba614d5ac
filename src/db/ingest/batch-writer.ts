/**
 * The batch writer: everything that becomes a row of a message, a status or a webhook event goes through here, from the
 * worker and from the receiver's direct path alike.
 *
 * One batch is one transaction. Locks are taken in the same order by every writer (contacts, conversations, messages by
 * wa_message_id, statuses, webhook events by key), so writers wait for each other but never in a circle.
 */
import type { Kysely, Transaction } from 'kysely'
import type { ChoosesNumber } from '../../core/outbound.ts'
import type { FinalOutcome } from '../../core/outcome.ts'
import type { ContactCache } from '../contacts/contact-cache.ts'
import { indexableText } from '../contacts/identifiers.ts'
import { addCounts, type Counter } from '../counters.ts'
import type { Database } from '../schema.ts'
import { identifyByCallback } from './callback-ids.ts'
import { moveToPlaceholderConversations, type PlaceholderUpdate } from './history-placeholders.ts'
import { type MessageOutcome, type PlacedMessage, writeMessages } from './messages.ts'
import { placeMessages } from './place-messages.ts'
import { applyStatuses, writeStatuses } from './statuses.ts'
import {
  type EventItem,
  isEventItem,
  isMessageItem,
  isStatusItem,
  type MessageItem,
  parkedItem,
  type StatusItem,
  type StoreItem,
} from './store-item.ts'
import { writeWebhookEvents } from './webhook-events.ts'

export type WriteOptions = {
  /** Whether the outcomes go into the totals; false for events that were counted when they came. */
  isCounted?: boolean
  /** What this process remembers of contacts. */
  contactCache?: ContactCache | undefined
  /** Absent: no business number is a service that chooses the number. */
  choosesNumber?: ChoosesNumber | undefined
}

/**
 * Stores a batch and returns each item's outcome, in order. All or nothing: when it throws, nothing of the batch is
 * stored, unless only a step after the commit failed: those find what they have to do in the database again, so they are
 * safe to repeat, with the whole batch or with parts of it.
 * @throws the driver's error; `classifyWriteFailure` says what it means.
 */
export async function writeBatch(
  db: Kysely<Database>,
  items: readonly StoreItem[],
  options: WriteOptions = {},
): Promise<FinalOutcome[]> {
  const written = await db.transaction().execute((trx) => writeInTransaction(trx, items, options))
  written.onCommit()
  const facts = items.filter((item) => isMessageItem(item) || isStatusItem(item)).map((item) => item.fact)
  await moveToPlaceholderConversations(db, written.filed)
  await identifyByCallback(db, facts, options.choosesNumber ?? (() => false))
  await applyStatuses(
    db,
    facts.map((fact) => fact.wa_message_id),
  )
  return written.outcomes
}

type Written = {
  outcomes: FinalOutcome[]
  /** Messages to which a placeholder of theirs has come late. */
  filed: PlaceholderUpdate[]
  onCommit: () => void
}

async function writeInTransaction(
  trx: Transaction<Database>,
  items: readonly StoreItem[],
  { isCounted = true, contactCache }: WriteOptions,
): Promise<Written> {
  const outcomes = new Map<StoreItem, FinalOutcome>()
  const { placed, onCommit } = await placeMessages(trx, items, contactCache)
  const { parked, filed } = await storeMessages(trx, items.filter(isMessageItem), placed, outcomes)
  await storeStatuses(trx, items.filter(isStatusItem), outcomes)
  await storeEvents(trx, [...items.filter(isEventItem), ...parked.values()], outcomes)
  for (const [item, copy] of parked) outcomes.set(item, outcomes.get(copy) ?? 'parked')
  const inOrder = items.map((item) => outcomes.get(item) ?? 'duplicate')
  if (isCounted) await addCounts(trx, countOutcomes(inOrder))
  return { outcomes: inOrder, filed, onCommit }
}

/** Returns, for each message that turned out not to be storable as what it claims to be, what is parked instead. */
async function storeMessages(
  trx: Transaction<Database>,
  items: readonly MessageItem[],
  placed: readonly PlacedMessage[],
  outcomes: Map<StoreItem, FinalOutcome>,
): Promise<{ parked: Map<MessageItem, EventItem>; filed: PlaceholderUpdate[] }> {
  const parked = new Map<MessageItem, EventItem>()
  const filed: PlaceholderUpdate[] = []
  if (items.length === 0) return { parked, filed }
  const results = await writeMessages(trx, placed)
  items.forEach((item, index) => {
    const { outcome, reason = '', filed: message } = results[index] as MessageOutcome
    outcomes.set(item, outcome)
    if (message !== undefined) filed.push(message)
    // Under a key of its own: the same wa_message_id may be parked once for each business number.
    const job_id = `${item.job_id}.${indexableText(item.fact.business_number)}`
    if (outcome === 'parked') parked.set(item, parkedItem({ ...item, job_id }, reason))
  })
  return { parked, filed }
}

async function storeStatuses(
  trx: Transaction<Database>,
  items: readonly StatusItem[],
  outcomes: Map<StoreItem, FinalOutcome>,
): Promise<void> {
  if (items.length === 0) return
  const results = await writeStatuses(trx, items)
  items.forEach((item, index) => {
    outcomes.set(item, results[index] ?? 'duplicate')
  })
}

async function storeEvents(
  trx: Transaction<Database>,
  items: readonly EventItem[],
  outcomes: Map<StoreItem, FinalOutcome>,
): Promise<void> {
  if (items.length === 0) return
  const results = await writeWebhookEvents(trx, items)
  items.forEach((item, index) => {
    outcomes.set(item, results[index] ?? 'duplicate')
  })
}

const COUNTER_OF: Record<FinalOutcome, Counter> = {
  stored: 'stored',
  duplicate: 'duplicates_database',
  merged: 'merged',
  parked: 'parked',
}

function countOutcomes(outcomes: readonly FinalOutcome[]): Partial<Record<Counter, number>> {
  const counts: Partial<Record<Counter, number>> = {}
  for (const outcome of outcomes) counts[COUNTER_OF[outcome]] = (counts[COUNTER_OF[outcome]] ?? 0) + 1
  return counts
}
