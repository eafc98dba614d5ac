/** Counts how requests ended. */
import { percentile } from './percentile.ts'

export type LoadResult = {
  /** So many requests were sent, from the first position on. */
  sent: number
  /** Positions that were not answered with 200, in order. */
  refused: number[]
  /** How the first of them ended. */
  firstRefusal?: string
  /** When the first request went out, in milliseconds since 1970. */
  startedAt: number
  /** From then to the last answer. */
  durationMs: number
  ackP50Ms: number
  ackP99Ms: number
  ackMaxMs: number
}

export type Tally = {
  acknowledge(latencyMs: number): void
  refuse(position: number, reason: string): void
  answered(): number
  result(load: Pick<LoadResult, 'sent' | 'startedAt' | 'durationMs'>): LoadResult
}

export function createTally(): Tally {
  const latencies: number[] = []
  const refused: number[] = []
  let firstRefusal: string | undefined
  return {
    acknowledge: (latencyMs) => latencies.push(latencyMs),
    refuse: (position, reason) => {
      refused.push(position)
      firstRefusal ??= reason
    },
    answered: () => latencies.length + refused.length,
    result: (load) => {
      const sorted = Float64Array.from(latencies).sort()
      return {
        ...load,
        refused: refused.sort((a, b) => a - b),
        ...(firstRefusal === undefined ? {} : { firstRefusal }),
        ackP50Ms: percentile(sorted, 0.5),
        ackP99Ms: percentile(sorted, 0.99),
        ackMaxMs: sorted.at(-1) ?? Number.NaN,
      }
    },
  }
}
