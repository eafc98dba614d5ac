import { describe, expect, test } from 'vitest'
import {
  BACK_OFF,
  BREAKER_TRIAL_MS,
  CUT_OFF_RESERVE_MS,
  DATABASE_AWAY_PAUSE_MS,
  IN_DOUBT,
  LONGEST_SEND_MS,
  PROVIDER_COPY,
  RATE_LIMIT,
  READ_RECEIPT,
  RECONCILIATION,
  RECORD_RESULT,
  RETRY_RULES,
  type RetryRule,
  SEND_CALL,
  SLOTS,
  STATUS_LIMITS,
  STOPPED_SENDER_RULE,
  SWEEP,
} from '../../src/core/send-policy.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

describe('after a failure that has sent nothing', () => {
  /** The first waits in seconds, and the longest. docs/sending.md promises them. */
  const WAITS: Record<string, string> = {
    recipient_rate: 'conversation: 1, 4, 16 … 3600',
    number_rate: 'sender: 1, 2, 4 … 3600',
    number_upgrade: 'sender: 15, 30, 60 … 3600',
    number_queue_full: 'sender: 60, 120, 240 … 3600',
    spam_suspicion: 'sender: 900, 1800, 3600 … 3600',
    account_limit: 'sender: 900, 1800, 3600 … 3600',
    account_concurrency: 'provider: 1, 2, 4 … 300',
    account_rate: 'provider: 60, 120, 240 … 300',
    provider_maintenance: 'provider: 60, 120, 240 … 300',
    unreachable: 'provider: 1, 2, 4 … 300',
    refused_on_the_way: 'provider: 60, 120, 240 … 300',
    copy_unconfirmed: 'conversation: 1, 4, 16 … 3600',
    file_missing: 'conversation: 5, 20, 80 … 3600',
    not_called: 'conversation: 0, 0, 0 … 3600',
    'a sender that may not send at all': 'sender: 60, 120, 240 … 3600',
    'the third answer in a row that is lost': 'sender: 15, 30, 60 … 300',
  }
  const RULES: Record<string, RetryRule> = {
    ...RETRY_RULES,
    'a sender that may not send at all': STOPPED_SENDER_RULE,
    'the third answer in a row that is lost': { scope: 'sender', ...IN_DOUBT },
  }

  test.each(Object.entries(RULES))('%s: what waits, and for how long', (reason, rule) => {
    const { factor, maxDelayMs } = rule.backOff ?? BACK_OFF[rule.scope]
    const waits = [0, 1, 2].map((failures) => (rule.firstDelayMs * factor ** failures) / 1000)

    expect(`${rule.scope}: ${waits.join(', ')} … ${maxDelayMs / 1000}`).toBe(WAITS[reason])
  })

  test('three lost answers in a row stop a number, and those of three numbers the provider', () => {
    expect([IN_DOUBT.maxInARow, IN_DOUBT.maxNumbers]).toEqual([3, 3])
  })
})

describe('the numbers of sending', () => {
  test('give up a message as lost after a minute, when no worker can still be sending it', () => {
    expect(STATUS_LIMITS.maxSendingMs).toBe(MINUTE)
    expect(LONGEST_SEND_MS).toBe(20_000)
    expect(SEND_CALL).toEqual({ maxClaimAgeMs: 5_000, timeoutMs: LONGEST_SEND_MS - 5_000 })
  })

  test('let a half-open breaker wait for its trial as long', () => {
    expect(BREAKER_TRIAL_MS).toBe(STATUS_LIMITS.maxSendingMs)
  })

  test('give up a message that has waited for a day', () => {
    expect(STATUS_LIMITS.maxQueuedMs).toBe(DAY)
  })

  test('take longer over a call than undici over a connection', () => {
    expect(SEND_CALL.timeoutMs).toBeGreaterThan(10_000)
  })

  test('look for an in-doubt send for a day, when no other message can still join the searched part of the list', () => {
    const endOfSearchMs = LONGEST_SEND_MS + RECONCILIATION.clockToleranceMs

    expect(RECONCILIATION.firstAfterMs).toBeGreaterThan(endOfSearchMs)
    expect(RECONCILIATION.firstAfterMs).toBeGreaterThan(STATUS_LIMITS.maxSendingMs)
    expect(RECONCILIATION).toMatchObject({ clockToleranceMs: 30_000, maxAgeMs: DAY })
    expect(RECONCILIATION).toMatchObject({ callTimeoutMs: 10_000, maxSendsARun: 5 })
    expect(agesOfLookUps().map((ageMs) => ageMs / MINUTE)).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
  })

  test('let a worker miss two extensions of its claim to a copy, which ends after 15 seconds', () => {
    expect(PROVIDER_COPY).toMatchObject({ claimMs: 15_000, extendEveryMs: 4_000 })
    expect(PROVIDER_COPY.claimMs).toBeGreaterThan(3 * PROVIDER_COPY.extendEveryMs)
  })

  test('use a copy at Meta for 25 of its 30 days, and give the largest file five minutes', () => {
    expect([PROVIDER_COPY.maxAgeDays, PROVIDER_COPY.timeoutMs]).toEqual([25, 5 * MINUTE])
    const megabitsPerSecond = (100 * 1024 * 1024 * 8) / (PROVIDER_COPY.timeoutMs / 1000) / 1e6
    expect(megabitsPerSecond).toBeLessThan(3)
  })

  test('give up a read receipt after almost three hours', () => {
    const { firstDelayMs, factor, maxAttempts } = READ_RECEIPT
    const waits = Array.from({ length: maxAttempts - 1 }, (_, failures) => firstDelayMs * factor ** failures)

    expect(waits.reduce((sum, wait) => sum + wait) / MINUTE).toBeCloseTo(170.6, 1)
    expect(READ_RECEIPT.callTimeoutMs).toBe(10_000)
  })

  test('try for five minutes to store the result of a call, soon and then every two seconds', () => {
    const { firstDelayMs, factor, maxDelayMs, timeoutMs } = RECORD_RESULT
    const waits = [0, 1, 2, 3, 4].map((failures) => Math.min(maxDelayMs, firstDelayMs * factor ** failures))

    expect(waits).toEqual([200, 400, 800, 1600, 2000])
    expect(timeoutMs).toBe(5 * MINUTE)
  })

  test('leave time to store the results of the calls that a stopping worker cuts off', () => {
    expect(CUT_OFF_RESERVE_MS).toBe(500)
  })

  test('pause for a second while the database is away', () => {
    expect(DATABASE_AWAY_PAUSE_MS).toBe(1_000)
  })

  test('let the sweep, once a second, notify of more than the 80 messages a second that Meta takes from a number', () => {
    expect(SWEEP).toEqual({ minAgeMs: 2_000, maxSendsANumber: 160, maxReceipts: 100 })
  })

  test('begin with five calls of a number and twenty of a provider, and end with fifty and a hundred', () => {
    expect(SLOTS).toEqual({
      sends: { perSender: { first: 5, most: 50 }, perProvider: { first: 20, most: 100 } },
      copies: { perSender: { first: 5, most: 5 }, perProvider: { first: 10, most: 10 } },
      receipts: { perSender: { first: 5, most: 5 }, perProvider: { first: 10, most: 10 } },
      maxWaiting: 1_000,
    })
  })

  test('send a tenth of a second at once and the rest over the second, and never wait for longer than one', () => {
    expect(RATE_LIMIT).toEqual({ burstShare: 0.1, maxWaiting: 8, maxWaitMs: 1_000, spreadMs: 50 })
  })
})

function agesOfLookUps(): number[] {
  const { firstAfterMs, ageFactor, maxAgeMs } = RECONCILIATION
  const ages: number[] = []
  for (let ageMs: number = firstAfterMs; ageMs <= maxAgeMs; ageMs *= ageFactor) ages.push(ageMs)
  return ages
}
