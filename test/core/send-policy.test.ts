import { describe, expect, test } from 'vitest'
import {
  BACK_OFF,
  BREAKER_TRIAL_MS,
  LONGEST_SEND_MS,
  PROVIDER_COPY,
  READ_RECEIPT,
  RECONCILIATION,
  RETRY_RULES,
  type RetryRule,
  SEND_CALL,
  STATUS_LIMITS,
  STOPPED_SENDER_RULE,
} from '../../src/core/send-policy.ts'

const MINUTE = 60_000

describe('the numbers of sending', () => {
  test('give up a message as lost only when no worker can still be sending it', () => {
    expect(STATUS_LIMITS.maxSendingMs).toBeGreaterThan(LONGEST_SEND_MS)
  })

  test('let a half-open breaker wait for the longest call', () => {
    expect(BREAKER_TRIAL_MS).toBeGreaterThan(LONGEST_SEND_MS)
  })

  test('look for an in-doubt send when no other message can still join the searched part of the list', () => {
    const endOfSearchMs = LONGEST_SEND_MS + RECONCILIATION.clockToleranceMs

    expect(RECONCILIATION.firstAfterMs).toBeGreaterThan(endOfSearchMs)
    expect(RECONCILIATION.firstAfterMs).toBeGreaterThan(STATUS_LIMITS.maxSendingMs)
  })

  test('take longer over a call than undici over a connection', () => {
    expect(SEND_CALL.timeoutMs).toBeGreaterThan(10_000)
  })

  test('let a worker miss two extensions of its claim to a copy', () => {
    expect(PROVIDER_COPY.claimMs).toBeGreaterThan(3 * PROVIDER_COPY.extendEveryMs)
  })

  test.each<[string, RetryRule]>(Object.entries({ ...RETRY_RULES, stopped: STOPPED_SENDER_RULE }))(
    '%s: its first wait is within the maximum of its scope',
    (_, { scope, firstDelayMs }) => {
      expect(firstDelayMs).toBeLessThanOrEqual(BACK_OFF[scope].maxDelayMs)
    },
  )

  test('give up a read receipt after almost three hours', () => {
    const { firstDelayMs, factor, maxAttempts } = READ_RECEIPT
    const waits = Array.from({ length: maxAttempts - 1 }, (_, failures) => firstDelayMs * factor ** failures)

    expect(waits.reduce((sum, wait) => sum + wait) / MINUTE).toBeCloseTo(170.6, 1)
  })
})
