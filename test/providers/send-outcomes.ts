/** What the tests of the providers' errors share. */
import { expect } from 'vitest'
import type { SendResult } from '../../src/core/outbound.ts'

/** With which a code may come, also where it does not belong. */
export const STATUSES = [200, 307, 400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504]

/** The kind of the result, or the reason for another try. */
export function outcomeOf(result: SendResult): string {
  return result.kind === 'not_sent' ? result.reason : result.kind
}

/** Each code leads there with every HTTP status, as a number and as text. */
export function expectWithEveryStatus(
  outcome: (status: number, code: unknown) => string,
  codes: readonly number[],
  expected: string,
): void {
  for (const code of codes)
    for (const status of STATUSES)
      expect([code, status, outcome(status, code), outcome(status, String(code))]).toEqual([
        code,
        status,
        expected,
        expected,
      ])
}
