/** What was sent, and what the service said to it. The auditor compares it with what is stored. */
import type { StreamEvent } from './stream.ts'

export type LedgerEntry = {
  event: StreamEvent
  /** When a webhook with it was answered 200 for the first time, in milliseconds of the monotonic clock. */
  acknowledgedAt: number | undefined
  /** When that request was sent. */
  askedAt: number | undefined
}

/** What was acknowledged from one moment on, of what was sent before another one. Of the monotonic clock. */
export type LossWindow = { acknowledgedFrom: number; askedBefore: number }

export type Answer = { status: number } | { error: string }

export type Ledger = {
  entries(): IterableIterator<LedgerEntry>
  get(key: string): LedgerEntry | undefined
  size(): number
  acknowledged(): number
  /** Acknowledged, and not yet seen in the database. Who has seen one there takes it out. */
  awaited: Map<string, LedgerEntry>
  /** The documented limit of a fault: events in this window may be gone. All others have to be stored. */
  mayLose(window: LossWindow): void
  isExcused(entry: LedgerEntry): boolean
  recordSent(events: readonly StreamEvent[]): void
  recordAcknowledged(events: readonly StreamEvent[], askedAt: number): void
  /** One request and its answer. `redelivery`: of a webhook that had been acknowledged; `retry`: of one that had not. */
  recordRequest(kind: 'first' | 'retry' | 'redelivery', answer: Answer, tookMs: number): void
  requests(): RequestTotals
}

export type RequestTotals = {
  sent: number
  redelivered: number
  retried: number
  /** Answers by status, or by the code of what went wrong before one came. */
  answers: Record<string, number>
  longestAckMs: number
  /** Until an answer, or until the client gave up. */
  longestAnswerMs: number
}

/** By what an event is known in the database. */
export function keyOf(event: StreamEvent): string {
  return event.kind === 'status'
    ? statusKey(event.wa_message_id, event.status)
    : messageKey(event.wa_message_id)
}

export function messageKey(waMessageId: string): string {
  return `message ${waMessageId}`
}

export function statusKey(waMessageId: string, status: string): string {
  return `status ${status} ${waMessageId}`
}

export function createLedger(now: () => number = () => performance.now()): Ledger {
  const entries = new Map<string, LedgerEntry>()
  const awaited = new Map<string, LedgerEntry>()
  const lossWindows: LossWindow[] = []
  const totals: RequestTotals = {
    ...{ sent: 0, redelivered: 0, retried: 0, answers: {}, longestAckMs: 0, longestAnswerMs: 0 },
  }
  let acknowledged = 0
  return {
    entries: () => entries.values(),
    get: (key) => entries.get(key),
    size: () => entries.size,
    acknowledged: () => acknowledged,
    awaited,
    mayLose: (window) => lossWindows.push(window),
    isExcused: ({ acknowledgedAt = 0, askedAt = 0 }) =>
      lossWindows.some(
        ({ acknowledgedFrom, askedBefore }) => acknowledgedAt >= acknowledgedFrom && askedAt < askedBefore,
      ),
    recordSent(events) {
      for (const event of events) {
        const key = keyOf(event)
        if (!entries.has(key)) entries.set(key, { event, acknowledgedAt: undefined, askedAt: undefined })
      }
    },
    recordAcknowledged(events, askedAt) {
      for (const event of events) {
        const key = keyOf(event)
        const entry = entries.get(key)
        if (entry === undefined || entry.acknowledgedAt !== undefined) continue
        entry.acknowledgedAt = now()
        entry.askedAt = askedAt
        awaited.set(key, entry)
        acknowledged++
      }
    },
    recordRequest(kind, answer, tookMs) {
      totals.sent++
      if (kind === 'redelivery') totals.redelivered++
      if (kind === 'retry') totals.retried++
      const name = 'status' in answer ? String(answer.status) : answer.error
      totals.answers[name] = (totals.answers[name] ?? 0) + 1
      totals.longestAnswerMs = Math.max(totals.longestAnswerMs, tookMs)
      if ('status' in answer && answer.status === 200)
        totals.longestAckMs = Math.max(totals.longestAckMs, tookMs)
    },
    requests: () => ({ ...totals, answers: { ...totals.answers } }),
  }
}
