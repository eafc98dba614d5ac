import type { InboundJob } from '../../core/event.ts'
import type { Fact, MessageFact, OtherFact, ParkedFact, StatusFact } from '../../core/fact.ts'

/** What the batch writer takes: an event under its job id, with what is to be stored of it. */
export type StoreItem<F extends Fact = Fact> = InboundJob & {
  fact: F
  /** Keep the payload as bytes only: jsonb refused it for a reason that scrubbing does not cure. */
  withoutJsonb?: boolean
}

export type MessageItem = StoreItem<MessageFact>
export type StatusItem = StoreItem<StatusFact>
/** Goes to `webhook_events`; parked when the fact has a reason. */
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

export function parkedItem(item: StoreItem, reason: string): EventItem {
  return { ...item, fact: { kind: 'parked', reason } }
}
