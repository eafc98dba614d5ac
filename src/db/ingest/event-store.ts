/**
 * The event store: gives every item an outcome, whatever fails.
 *
 * Items that arrive while a batch is being written form the next batch. One bad item does not fail its batch (isolate.ts).
 * An item whose data PostgreSQL refuses is stored without jsonb; when that is refused too, it is parked with the reason. One
 * that fails in another way is a suspect (suspects.ts): it has the outcome `retry`, and from then on it is tried by itself, so
 * that it costs no other batch anything, until it is stored or parked. When the database is away, all have `retry`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { type Batcher, createBatcher } from '../../core/batcher.ts'
import type { FinalOutcome } from '../../core/event.ts'
import { type ContactCache, createContactCache } from '../contacts/contact-cache.ts'
import { classifyWriteFailure } from '../errors.ts'
import type { Database } from '../schema.ts'
import { type BatchSize, createBatchSize } from './batch-size.ts'
import { type WriteOptions, writeBatch } from './batch-writer.ts'
import { type WriteResult, writeIsolated } from './isolate.ts'
import { refusal } from './refusal.ts'
import { parkedItem, type StoreItem } from './store-item.ts'
import { createSuspects, type Suspects } from './suspects.ts'

/** `isOnlyThis`: the database refuses this item and stores others, so there is no need to wait before storing more. */
export type StoreResult =
  | { outcome: FinalOutcome }
  | { outcome: 'retry'; cause: unknown; isOnlyThis: boolean }

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
  /** A clock in milliseconds that never goes back. */
  now?: () => number
}

/** Larger batches gain little (measured: 100 rows 23 k/s, 500 rows 30 k/s) and hold locks for longer. */
const MAX_BATCH_ITEMS = 256
/** Two, so that one batch is prepared while PostgreSQL works on the other. */
const MAX_BATCHES_IN_FLIGHT = 2
/** Connections that suspects use, besides those of the batches. */
const MAX_SUSPECTS_IN_FLIGHT = 2
const MAX_BATCH_BYTES = 8 * 1024 * 1024
/** Deadlocks and vanished rows are rare and pass by themselves; after more tries than this something else is wrong. */
const MAX_CONFLICT_RETRIES = 5

type Target = {
  db: Kysely<Database>
  options: WriteOptions
  contactCache: ContactCache
  size: BatchSize
  suspects: Suspects
  now: () => number
}

export function createEventStore(options: EventStoreOptions): EventStore {
  const { db, onBatch, now = () => performance.now(), ...writeOptions } = options
  const suspects = createSuspects(now)
  const size = createBatchSize(MAX_BATCH_ITEMS)
  const target = { db, options: writeOptions, contactCache: createContactCache(), size, suspects, now }

  async function run(items: StoreItem[]): Promise<StoreResult[]> {
    const startedAt = performance.now()
    const results = await storeItems(target, items)
    onBatch?.(items.length, performance.now() - startedAt)
    return results
  }

  const batches: Batcher<StoreItem, StoreResult> = createBatcher({
    run,
    maxItems: size.current,
    maxInFlight: MAX_BATCHES_IN_FLIGHT,
    maxBytes: MAX_BATCH_BYTES,
    sizeOf: (item) => item.event.payload.length + (item.event.context?.length ?? 0),
  })
  const retries: Batcher<StoreItem, StoreResult> = createBatcher({
    run,
    maxItems: 1,
    maxInFlight: MAX_SUSPECTS_IN_FLIGHT,
  })

  return {
    store: async (item) => {
      const suspect = suspects.get(item)
      if (suspect === undefined) return batches.add(item)
      if (suspects.isDue(suspect)) return retries.add(item)
      return { outcome: 'retry', cause: suspect.cause, isOnlyThis: suspects.isOnlyThis(item) }
    },
    storeAlone: async (item) => (await run([item]))[0] as StoreResult,
    pending: () => batches.pending() + retries.pending(),
    drain: async () => {
      await Promise.all([batches.drain(), retries.drain()])
    },
  }
}

async function storeItems(target: Target, items: readonly StoreItem[]): Promise<StoreResult[]> {
  /** When each reason of a failure was first met, so that what is stored afterwards shows that it is not the database. */
  const failedSince = new Map<string, number>()
  const write = async (some: readonly StoreItem[]) => {
    try {
      return await writeAndNote(target, some)
    } catch (cause) {
      const reason = refusal(cause)
      if (!failedSince.has(reason)) failedSince.set(reason, target.now())
      throw cause
    }
  }
  const results = await writeIsolated(items, { write, size: target.size })
  const finalKinds = new Set(items.flatMap(({ fact }, index) => (isFinal(results[index]) ? fact.kind : [])))
  return Promise.all(
    items.map(async (item, index) => {
      const result = results[index] as WriteResult
      if (isFinal(result)) {
        target.suspects.forget(item)
        return result
      }
      const { outcome, cause, failure } = result
      if (outcome === 'refused' && failure === 'data') return storeRefused(target, item, cause)
      // Refused like everything else of its kind, it says nothing; tried alone, it is remembered all the same.
      const isSuspect = outcome === 'refused' && (items.length === 1 || finalKinds.has(item.fact.kind))
      if (isSuspect) return suspect(target, item, cause, failedSince.get(refusal(cause)))
      return { outcome: 'retry', cause, isOnlyThis: false }
    }),
  )
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

/** Stores an item whose data PostgreSQL refused: first without jsonb, then as a parked event, which has bytes only. */
async function storeRefused(target: Target, item: StoreItem, cause: unknown): Promise<StoreResult> {
  if (item.withoutJsonb === true && item.fact.kind === 'parked')
    return suspect(target, item, cause, undefined)
  const bytesOnly = { ...item, withoutJsonb: true }
  const next = item.withoutJsonb === true ? parkedItem(bytesOnly, refusal(cause)) : bytesOnly
  return (await storeItems(target, [next]))[0] as StoreResult
}

/** Parks the item when it has been refused often enough while others were stored. */
async function suspect(
  target: Target,
  item: StoreItem,
  cause: unknown,
  since: number | undefined,
): Promise<StoreResult> {
  const verdict = target.suspects.refused(item, cause, since)
  if (verdict === 'park' && item.fact.kind !== 'parked') {
    return (await storeItems(target, [parkedItem(item, refusal(cause))]))[0] as StoreResult
  }
  return { outcome: 'retry', cause, isOnlyThis: target.suspects.isOnlyThis(item) }
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
      await delay(Math.random() * 20 * attempt)
    }
  }
}
