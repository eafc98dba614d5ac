/**
 * The batch writer: the worker, the receiver's direct path, back-fills and reprocessing store every event through it.
 *
 * One batch is one transaction. Every batch takes its locks in the same order (contacts, new messages by wa_message_id, which are
 * entries of the unique index, their conversations by id, stored messages by wa_message_id, statuses, webhook events by key), so
 * batches wait for each other but never deadlock. merge-lock.ts says what follows for other writers.
 */
import type { Kysely, Transaction } from 'kysely'
import type { FinalOutcome } from '../../core/event.ts'
import type { ChoosesNumber } from '../../core/outbound.ts'
import type { ContactCache } from '../contacts/contact-cache.ts'
import { type ControlSign, recordControl } from '../contacts/conversation-control.ts'
import { indexableText } from '../contacts/identifiers.ts'
import { addCounts, type Counter } from '../counters.ts'
import type { Database } from '../schema.ts'
import { identifyByCallback } from './callback-ids.ts'
import { moveToPlaceholderConversations, type PlaceholderUpdate } from './history-placeholders.ts'
import type { PlacedMessage } from './insert-messages.ts'
import { type MessageOutcome, writeMessages } from './messages.ts'
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
  /** Whether the outcomes are added to the totals. False for events that were counted when they arrived. */
  isCounted?: boolean
  /** False for events that were counted when they arrived, and whose row may be gone since then. */
  countsDuplicates?: boolean
  /** Contacts that this process resolved lately. */
  contactCache?: ContactCache | undefined
  /** Absent: no business number stands for a service that chooses the sending number. */
  choosesNumber?: ChoosesNumber | undefined
}

/**
 * Stores a batch and returns the outcome of each item, in order. The batch is stored whole or not at all. Four steps follow
 * the commit; when one of them throws, the batch is stored, and repeating it (or parts of it) also repeats these steps.
 * @throws the driver's error; see `classifyWriteFailure`
 */
export async function writeBatch(
  db: Kysely<Database>,
  items: readonly StoreItem[],
  options: WriteOptions = {},
): Promise<FinalOutcome[]> {
  const written = await db.transaction().execute((trx) => writeInTransaction(trx, items, options))
  written.onCommit()
  const facts = items.filter((item) => isMessageItem(item) || isStatusItem(item)).map((item) => item.fact)
  await moveToPlaceholderConversations(db, written.placeholderUpdates)
  await identifyByCallback(db, facts, options.choosesNumber ?? (() => false))
  await applyStatuses(
    db,
    facts.map((fact) => fact.wa_message_id),
  )
  await recordControl(db, written.control)
  return written.outcomes
}

type Written = {
  outcomes: FinalOutcome[]
  /** Messages whose placeholder came after them. */
  placeholderUpdates: PlaceholderUpdate[]
  control: ControlSign[]
  onCommit: () => void
}

async function writeInTransaction(
  trx: Transaction<Database>,
  items: readonly StoreItem[],
  { isCounted = true, countsDuplicates = true, contactCache }: WriteOptions,
): Promise<Written> {
  const outcomes = new Map<StoreItem, FinalOutcome>()
  const { placed, control, onCommit } = await placeMessages(trx, items, contactCache)
  const { parked, placeholderUpdates } = await storeMessages(
    trx,
    items.filter(isMessageItem),
    placed,
    outcomes,
  )
  await storeStatuses(trx, items.filter(isStatusItem), outcomes)
  await storeEvents(trx, [...items.filter(isEventItem), ...parked.values()], outcomes)
  for (const [item, copy] of parked) outcomes.set(item, outcomes.get(copy) ?? 'parked')
  const inOrder = items.map((item) => outcomes.get(item) ?? 'duplicate')
  const counted = countsDuplicates ? inOrder : inOrder.filter((outcome) => outcome !== 'duplicate')
  if (isCounted) await addCounts(trx, countOutcomes(counted))
  return { outcomes: inOrder, placeholderUpdates, control, onCommit }
}

/** `parked`: for each message that cannot be stored as a message, the item to park instead. */
async function storeMessages(
  trx: Transaction<Database>,
  items: readonly MessageItem[],
  placed: readonly PlacedMessage[],
  outcomes: Map<StoreItem, FinalOutcome>,
): Promise<{ parked: Map<MessageItem, EventItem>; placeholderUpdates: PlaceholderUpdate[] }> {
  const parked = new Map<MessageItem, EventItem>()
  const placeholderUpdates: PlaceholderUpdate[] = []
  if (items.length === 0) return { parked, placeholderUpdates }
  const results = await writeMessages(trx, placed)
  items.forEach((item, index) => {
    const { outcome, reason = '', placeholderUpdate } = results[index] as MessageOutcome
    outcomes.set(item, outcome)
    if (placeholderUpdate !== undefined) placeholderUpdates.push(placeholderUpdate)
    // The business number is part of the key: the same wa_message_id can be parked once for each.
    const job_id = `${item.job_id}.${indexableText(item.fact.business_number)}`
    if (outcome === 'parked') parked.set(item, parkedItem({ ...item, job_id }, reason))
  })
  return { parked, placeholderUpdates }
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
