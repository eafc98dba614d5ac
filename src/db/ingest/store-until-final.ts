import { setTimeout as delay } from 'node:timers/promises'
import type { FinalOutcome } from '../../core/event.ts'
import { isUnavailable } from '../errors.ts'
import type { EventStore } from './event-store.ts'
import type { StoreItem } from './store-item.ts'

const BETWEEN_TRIES_MS = 500

/**
 * Stores an item for a caller that has no queue to put it back on: when the database refuses only this item, it is tried
 * until it is stored or parked, which takes seconds.
 * @throws the driver's error when the database takes no items, or takes too long for this one
 */
export async function storeUntilFinal(store: EventStore, item: StoreItem): Promise<FinalOutcome> {
  for (;;) {
    const result = await store.store(item)
    if (result.outcome !== 'retry') return result.outcome
    if (!result.isOnlyThis || isUnavailable(result.cause)) throw result.cause
    await delay(BETWEEN_TRIES_MS)
  }
}
