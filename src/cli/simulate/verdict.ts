/** What the rows say of every event that was sent. */
import type { Delivery } from './delivery.ts'
import type { EventKey, Traffic } from './traffic.ts'

export type Verdict = {
  messages: EventCounts
  statuses: EventCounts
  /** The first few of each. */
  doubledExamples: EventKey[]
  lostExamples: EventKey[]
}

export type EventCounts = {
  sent: number
  acknowledged: number
  /** Has at least one row. */
  stored: number
  /** Has more than one row. */
  doubled: number
  /** Acknowledged, and has no row. */
  lost: number
  /** Has a row although no answer said so: allowed, the answer may have been late or lost. */
  storedUnacknowledged: number
}

const EXAMPLES = 100

/** `rows`: how many rows each event has. */
export function judge(
  traffic: Traffic,
  delivery: Pick<Delivery, 'wasSent' | 'wasAcknowledged'>,
  rows: Uint8Array,
): Verdict {
  const verdict: Verdict = {
    messages: nothingYet(),
    statuses: nothingYet(),
    doubledExamples: [],
    lostExamples: [],
  }
  for (let webhook = 0; webhook < traffic.webhookCount; webhook++) {
    if (!delivery.wasSent(webhook)) continue
    const isAcknowledged = delivery.wasAcknowledged(webhook)
    for (const event of traffic.eventsOf(webhook)) {
      add(verdict, traffic.key(event), rows[event] ?? 0, isAcknowledged)
    }
  }
  return verdict
}

function add(verdict: Verdict, key: EventKey, rows: number, isAcknowledged: boolean): void {
  const counts = key.kind === 'message' ? verdict.messages : verdict.statuses
  const isStored = rows > 0
  counts.sent++
  if (isAcknowledged) counts.acknowledged++
  if (isStored) counts.stored++
  if (isStored && !isAcknowledged) counts.storedUnacknowledged++
  if (rows > 1) {
    counts.doubled++
    if (verdict.doubledExamples.length < EXAMPLES) verdict.doubledExamples.push(key)
  }
  if (isAcknowledged && !isStored) {
    counts.lost++
    if (verdict.lostExamples.length < EXAMPLES) verdict.lostExamples.push(key)
  }
}

function nothingYet(): EventCounts {
  return { sent: 0, acknowledged: 0, stored: 0, doubled: 0, lost: 0, storedUnacknowledged: 0 }
}
