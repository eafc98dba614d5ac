/** Counts requests, their answers, and the times until an acknowledgement. */
import { createHistogram } from 'node:perf_hooks'
import { type Answer, isAcknowledgement } from './post.ts'

/** `redelivery`: of a webhook that had been acknowledged; `retry`: of one that had not. */
export type RequestKind = 'first' | 'retry' | 'redelivery'

export type RequestTotals = {
  /** Requests, all of them. */
  sent: number
  redelivered: number
  retried: number
  acknowledged: number
  /** Answered with anything but 200, or not at all. */
  refused: number
  /** Answers by status, or by the code of what went wrong before one came. */
  answers: Record<string, number>
  ackP50Ms: number
  ackP99Ms: number
  longestAckMs: number
  /** Until an answer, or until the client gave up. */
  longestAnswerMs: number
}

export type Tally = {
  record(kind: RequestKind, answer: Answer, tookMs: number): void
  totals(): RequestTotals
}

/** The histogram's unit is the microsecond; its range has to end somewhere. */
const LONGEST_ACK_US = 60_000_000

/** Needs the same memory for any number of requests: percentiles are exact to one part in a thousand. */
export function createTally(): Tally {
  const counts = { sent: 0, redelivered: 0, retried: 0, acknowledged: 0, longestAckMs: 0, longestAnswerMs: 0 }
  const answers: Record<string, number> = {}
  const ackUs = createHistogram({ lowest: 1, highest: LONGEST_ACK_US, figures: 3 })
  return {
    record(kind, answer, tookMs) {
      counts.sent++
      if (kind === 'redelivery') counts.redelivered++
      if (kind === 'retry') counts.retried++
      const name = 'status' in answer ? answer.status : answer.error
      answers[name] = (answers[name] ?? 0) + 1
      counts.longestAnswerMs = Math.max(counts.longestAnswerMs, tookMs)
      if (!isAcknowledgement(answer)) return
      counts.acknowledged++
      counts.longestAckMs = Math.max(counts.longestAckMs, tookMs)
      ackUs.record(Math.min(Math.max(Math.round(tookMs * 1_000), 1), LONGEST_ACK_US))
    },
    totals: () => ({
      ...counts,
      refused: counts.sent - counts.acknowledged,
      answers: { ...answers },
      ackP50Ms: ackUs.percentile(50) / 1_000,
      ackP99Ms: ackUs.percentile(99) / 1_000,
    }),
  }
}
