/**
 * The event store: gives every item an outcome, whatever fails.
 *
 * Items that arrive while a batch is being written form the next batch. One bad item does not fail its batch (isolate.ts).
 * An item whose data PostgreSQL refuses is stored without jsonb; when that is refused too, it is parked with the reason. One
 * that fails in another way is a suspect (suspects.ts): it has the outcome `retry`, and from then on it is tried apart from all
 * others, so that it costs no other batch anything, until it is stored or parked. When the database is away, all have `retry`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { type Batcher, createBatcher } from '../../core/batcher.ts'
import type { FinalOutcome } from '../../core/event.ts'
import { type ContactCache, createContactCache } from '../contacts/contact-cache.ts'
import { ContactMergeRequiredError } from '../contacts/resolve-contacts.ts'
import { classifyWriteFailure, isUnavailable } from '../errors.ts'
import type { Database } from '../schema.ts'
import { type BatchSize, createBatchSize } from './batch-size.ts'
import { type WriteOptions, writeBatch } from './batch-writer.ts'
import { type WriteResult, writeIsolated } from './isolate.ts'
import { mergeContactsOf } from './place-messages.ts'
import { probeMessages } from './probe-messages.ts'
import { refusal } from './refusal.ts'
import { parkedItem, type StoreItem } from './store-item.ts'
import { createSuspects, type Suspects } from './suspects.ts'

/**
 * - `isOnlyThis`: the database refuses this item and stores others, so there is no need to wait before storing more
 * - `retryInMs`: the database answered and refused the item; before then, it is not tried again. Absent when the database is
 *   away or too slow
 */
export type StoreResult = { outcome: FinalOutcome } | RetryResult
export type RetryResult = { outcome: 'retry'; cause: unknown; isOnlyThis: boolean; retryInMs?: number }

export type EventStore = {
  /** Stores an item in the next batch. Never rejects. */
  store(item: StoreItem): Promise<StoreResult>
  /** Stores an item in a batch of its own. Never rejects. */
  storeAlone(item: StoreItem): Promise<StoreResult>
  /** Items that wait or are being written. */
  pending(): number
  /** Resolves when no item waits or is being written. */
  drain(): Promise<void>
}

export type EventStoreOptions = Omit<WriteOptions, 'contactCache'> & {
  db: Kysely<Database>
  /** Called after each batch with the number of its items and the time that it took. */
  onBatch?: (items: number, durationMs: number) => void
  /** Called when an item is refused for the first time. `reason` quotes nothing of the item. */
  onSuspect?: (item: StoreItem, reason: string) => void
  /** A clock in milliseconds that never goes back. */
  now?: () => number
}

/** Larger batches gain little (measured: 100 rows 23 k/s, 500 rows 30 k/s) and hold locks for longer. */
const MAX_BATCH_ITEMS = 256
/** Two, so that one batch is prepared while PostgreSQL works on the other. */
const MAX_BATCHES_IN_FLIGHT = 2
/** Connections that suspects use, besides those of the batches. */
const MAX_SUSPECTS_IN_FLIGHT = 2
/** A batch of the refused that was not tried item by item, because others were refused one after the other. */
const PUT_BACK_MS = 2_000
const MAX_BATCH_BYTES = 8 * 1024 * 1024
/** Deadlocks and vanished rows are rare and pass by themselves; after more tries than this something else is wrong. */
const MAX_CONFLICT_RETRIES = 5

type Target = {
  db: Kysely<Database>
  options: WriteOptions
  contactCache: ContactCache
  size: BatchSize
  suspects: Suspects
  onSuspect: (item: StoreItem, reason: string) => void
  now: () => number
}

export function createEventStore(options: EventStoreOptions): EventStore {
  const { db, onBatch, onSuspect = () => {}, now = () => performance.now(), ...writeOptions } = options
  const suspects = createSuspects(now)
  const size = createBatchSize(MAX_BATCH_ITEMS)
  const contactCache = createContactCache()
  const target: Target = { db, options: writeOptions, contactCache, size, suspects, onSuspect, now }

  async function run(items: StoreItem[], areSuspects = false): Promise<StoreResult[]> {
    const startedAt = performance.now()
    const results = await storeItems(target, items, areSuspects)
    onBatch?.(items.length, performance.now() - startedAt)
    return results
  }

  const limits = {
    maxItems: size.current,
    maxBytes: MAX_BATCH_BYTES,
    sizeOf: (item: StoreItem) => item.event.payload.length + (item.event.context?.length ?? 0),
  }
  const batches: Batcher<StoreItem, StoreResult> = createBatcher({
    ...limits,
    run: (items) => run(items),
    maxInFlight: MAX_BATCHES_IN_FLIGHT,
  })
  /** Suspects that the probe tells apart. */
  const probed: Batcher<StoreItem, StoreResult> = createBatcher({
    ...limits,
    run: (items) => run(items, true),
    maxInFlight: 1,
  })
  const alone: Batcher<StoreItem, StoreResult> = createBatcher({
    run: (items) => run(items),
    maxItems: 1,
    maxInFlight: MAX_SUSPECTS_IN_FLIGHT,
  })

  return {
    store: async (item) => {
      const suspect = suspects.get(item)
      if (suspect === undefined) return batches.add(item)
      if (suspects.retryInMs(item) > 0) return retryResult(target, item, suspect.cause)
      return (canBeProbed(item, suspect.cause) ? probed : alone).add(item)
    },
    storeAlone: async (item) => (await run([item]))[0] as StoreResult,
    pending: () => batches.pending() + probed.pending() + alone.pending(),
    drain: async () => {
      await Promise.all([batches.drain(), probed.drain(), alone.drain()])
    },
  }
}

/** One that takes too long would take the time of the others with it. */
function canBeProbed(item: StoreItem, cause: unknown): boolean {
  return item.fact.kind === 'message' && !isUnavailable(cause)
}

async function storeItems(
  target: Target,
  items: readonly StoreItem[],
  areSuspects = false,
): Promise<StoreResult[]> {
  /** When each reason of a failure was first met, so that what is stored afterwards shows that it is not the database. */
  const failedSince = new Map<string, number>()
  const noteFailure = (cause: unknown) => {
    const reason = refusal(cause)
    if (!failedSince.has(reason)) failedSince.set(reason, target.now())
  }
  const write = async (some: readonly StoreItem[]) => {
    try {
      return await writeAndNote(target, some)
    } catch (cause) {
      noteFailure(cause)
      throw cause
    }
  }
  const probe = async (some: readonly StoreItem[]) => {
    const refused = await probeMessages(target.db, some)
    for (const cause of refused.values()) noteFailure(cause)
    return refused
  }
  const results = await writeIsolated(items, { write, probe, size: target.size, areSuspects })
  const decided = items.map((item, index) => decide(target, item, results[index] as WriteResult, failedSince))
  // All at once: a trigger can refuse thousands.
  const again = decided.filter((one) => 'fact' in one)
  const stored = again.length === 0 ? [] : await storeItems(target, again)
  const rest = stored.values()
  return decided.map((one) => ('fact' in one ? (rest.next().value as StoreResult) : one))
}

/** The result of an item, or the item to store in its place. */
function decide(
  target: Target,
  item: StoreItem,
  result: WriteResult,
  failedSince: ReadonlyMap<string, number>,
): StoreResult | StoreItem {
  if (isFinal(result)) {
    target.suspects.forget(item)
    return result
  }
  const { outcome, cause, failure } = result
  if (outcome === 'refused' && failure === 'data') return decideRefused(target, item, cause)
  if (outcome === 'refused') return decideSuspect(target, item, cause, failedSince.get(refusal(cause)))
  const isRefused = failure === 'refused' || failure === 'data'
  return { outcome: 'retry', cause, isOnlyThis: false, ...(isRefused ? { retryInMs: PUT_BACK_MS } : {}) }
}

function isFinal(result: WriteResult | undefined): result is { outcome: FinalOutcome } {
  return result !== undefined && result.outcome !== 'refused' && result.outcome !== 'put back'
}

async function writeAndNote(target: Target, items: readonly StoreItem[]): Promise<FinalOutcome[]> {
  const startedAt = target.now()
  const outcomes = await writeWithConflictRetries(target, items)
  const storedKinds = new Set(
    items.flatMap(({ fact }, index) => (outcomes[index] === 'stored' ? fact.kind : [])),
  )
  target.suspects.stored(storedKinds, startedAt)
  return outcomes
}

/** An item whose data PostgreSQL refused is stored first without jsonb, then as a parked event, which has bytes only. */
function decideRefused(target: Target, item: StoreItem, cause: unknown): StoreResult | StoreItem {
  if (item.withoutJsonb !== true) return { ...item, withoutJsonb: true }
  if (item.fact.kind === 'parked') return decideSuspect(target, item, cause, undefined)
  return parkedItem(item, refusal(cause))
}

/** Parks the item when it has been refused often enough while others were stored. */
function decideSuspect(
  target: Target,
  item: StoreItem,
  cause: unknown,
  since: number | undefined,
): StoreResult | StoreItem {
  const reason = refusal(cause)
  const isNew = target.suspects.get(item)?.reason !== reason
  const verdict = target.suspects.refused(item, cause, since)
  if (isNew) target.onSuspect(item, reason)
  return verdict === 'park' && item.fact.kind !== 'parked'
    ? parkedItem(item, reason)
    : retryResult(target, item, cause)
}

function retryResult({ suspects }: Target, item: StoreItem, cause: unknown): RetryResult {
  return {
    outcome: 'retry',
    cause,
    isOnlyThis: suspects.isOnlyThis(item),
    ...(isUnavailable(cause) && !suspects.isOnlyThis(item) ? {} : { retryInMs: suspects.retryInMs(item) }),
  }
}

async function writeWithConflictRetries(
  { db, options, contactCache }: Target,
  items: readonly StoreItem[],
): Promise<FinalOutcome[]> {
  for (let attempt = 1; ; attempt++) {
    const usesCache = !contactCache.isEmpty()
    try {
      return await writeBatch(db, items, {
        ...options,
        contactCache: attempt === 1 ? contactCache : undefined,
      })
    } catch (err) {
      contactCache.clear()
      const failure = classifyWriteFailure(err)
      // A cached row may have been deleted by hand; that violates a constraint, but is not the fault of the data.
      const isStale = failure === 'data' && usesCache && attempt === 1
      if (!isStale && (failure !== 'conflict' || attempt > MAX_CONFLICT_RETRIES)) throw err
      if (err instanceof ContactMergeRequiredError) await mergeContactsOf(db, items)
      else await delay(Math.random() * 20 * attempt)
    }
  }
}
