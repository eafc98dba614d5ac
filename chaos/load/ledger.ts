/** What was sent, and what the service answered. The auditor compares it with what is stored. */
import type { Ledger as AuditedLedger } from '../../src/cli/simulate/auditor.ts'
import { nameOfEvent } from '../../src/cli/simulate/stored-rows.ts'
import { createTally, type Tally } from '../../src/cli/simulate/tally.ts'
import type { EventKey } from '../../src/cli/simulate/traffic.ts'
import type { StreamEvent } from './stream.ts'

export type LedgerEntry = {
  event: StreamEvent
  /** When a webhook with it was answered 200 for the first time, in milliseconds of the monotonic clock. */
  acknowledgedAt: number | undefined
  /** When that request was sent. */
  askedAt: number | undefined
}

/** Events that were acknowledged from one moment on, and sent before another one. Of the monotonic clock. */
export type LossWindow = { acknowledgedFrom: number; askedBefore: number }

export type Ledger = Required<AuditedLedger> & {
  entry(event: number): LedgerEntry
  /** By its name, see nameOfEvent. */
  find(name: string): LedgerEntry | undefined
  acknowledged(): number
  /** The documented limit of a fault: events in this window may be gone. All others have to be stored. */
  mayLose(window: LossWindow): void
  recordSent(events: readonly StreamEvent[]): void
  recordAcknowledged(events: readonly StreamEvent[], askedAt: number): void
  /** Every request and its answer. */
  requests: Tally
}

/** The key of an event in the database. */
export function keyOf(event: StreamEvent): EventKey {
  const { wa_message_id } = event
  return event.kind === 'status'
    ? { kind: 'status', wa_message_id, status: event.status }
    : { kind: 'message', wa_message_id }
}

export function createLedger(now: () => number = () => performance.now()): Ledger {
  const entries: LedgerEntry[] = []
  const numbers = new Map<string, number>()
  const awaited = new Set<number>()
  const lossWindows: LossWindow[] = []
  let acknowledged = 0
  const entry = (event: number) => entries[event] as LedgerEntry
  const find = (name: string) => entries[numbers.get(name) ?? -1]
  const mayBeLost = (event: number) => {
    const { acknowledgedAt = 0, askedAt = 0 } = entry(event)
    return lossWindows.some(
      ({ acknowledgedFrom, askedBefore }) => acknowledgedAt >= acknowledgedFrom && askedAt < askedBefore,
    )
  }
  return {
    ...{ entry, find, mayBeLost },
    key: (event) => keyOf(entry(event).event),
    sent: () => entries.keys(),
    isAcknowledged: (event) => entry(event).acknowledgedAt !== undefined,
    acknowledged: () => acknowledged,
    awaited: () => [...awaited].filter((event) => !mayBeLost(event)),
    recordStored: (event) => awaited.delete(event),
    mayLose: (window) => lossWindows.push(window),
    recordSent(events) {
      for (const event of events) {
        const name = nameOfEvent(keyOf(event))
        if (numbers.has(name)) continue
        numbers.set(name, entries.length)
        entries.push({ event, acknowledgedAt: undefined, askedAt: undefined })
      }
    },
    recordAcknowledged(events, askedAt) {
      for (const event of events) {
        const number = numbers.get(nameOfEvent(keyOf(event))) ?? -1
        const sent = entries[number]
        if (sent === undefined || sent.acknowledgedAt !== undefined) continue
        sent.acknowledgedAt = now()
        sent.askedAt = askedAt
        awaited.add(number)
        acknowledged++
      }
    },
    requests: createTally(),
  }
}
