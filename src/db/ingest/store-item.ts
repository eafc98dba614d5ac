import type { InboundJob } from '../../core/event.ts'
import type { Fact, MessageFact, OtherFact, ParkedFact, StatusFact } from '../../core/fact.ts'

/** Input of the batch writer: an event with its job id, and the fact to store. */
export type StoreItem<F extends Fact = Fact> = InboundJob & {
  fact: F
  /** Store the payload as bytes only: jsonb refused it, and scrubbing did not help. */
  withoutJsonb?: boolean
}

export type MessageItem = StoreItem<MessageFact>
export type StatusItem = StoreItem<StatusFact>
/** Is stored in `webhook_events`; parked when the fact has a reason. */
export type EventItem = StoreItem<OtherFact | ParkedFact>

export function isMessageItem(item: StoreItem): item is MessageItem {
  return item.fact.kind === 'message'
}

export function isStatusItem(item: StoreItem): item is StatusItem {
  return item.fact.kind === 'status'
}

export function isEventItem(item: StoreItem): item is EventItem {
  return item.fact.kind === 'other' || item.fact.kind === 'parked'
}

/** The same event, to be parked. */
export function parkedItem(item: StoreItem, reason: string): EventItem {
  return { ...item, fact: { kind: 'parked', reason } }
}
