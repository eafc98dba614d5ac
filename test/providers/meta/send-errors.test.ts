import { describe, expect, test } from 'vitest'
import { META_SEND_ERRORS } from '../../../src/providers/meta/send-error-codes.ts'
import { readMetaError } from '../../../src/providers/meta/send-errors.ts'
import { listRules } from '../../../src/providers/send-errors.ts'
import { expectWithEveryStatus, outcomeOf } from '../send-outcomes.ts'

/** As Meta writes it. */
const answer = (code: unknown, fields: object = {}) => ({
  error: { message: 'refused', type: 'OAuthException', code, fbtrace_id: 'AbC', ...fields },
})
const outcome = (status: number, code: unknown, fields?: object) =>
  outcomeOf(readMetaError(status, answer(code, fields)))

describe('a code of Meta', () => {
  test.each<[string, readonly number[]]>([
    ['stop_sender', [0, 3, 10, 12, 33, 102, 190, 200, 250, 299, 368, 2500, 2635]],
    ['stop_sender', [131005, 131031, 131037, 131042, 131045, 133010, 141008, 141014]],
    ['account_rate', [4, 17, 32, 341, 613, 80007]],
    ['number_rate', [130429]],
    ['spam_suspicion', [131048]],
    ['account_limit', [131064]],
    ['recipient_rate', [131056]],
    ['number_upgrade', [131057]],
    ['unknown', [2, 131000, 131016, 133004]],
    ['failed', [100, 130472, 130497, 131008, 131009, 131021, 131026, 131030, 131047, 131049, 131050]],
    ['failed', [131051, 131052, 131053, 131062, 131063, 132000, 132001, 132005, 132007, 132012, 132015]],
    ['failed', [132016, 132018, 132068, 132069]],
  ])('leads to %s with every HTTP status, as a number or as text: %j', (expected, codes) => {
    expectWithEveryStatus(outcome, codes, expected)
  })

  test('100 is about the sender with subcode 33, and about the message without it', () => {
    expect(outcome(400, 100, { error_subcode: 33 })).toBe('stop_sender')
    expect(outcome(400, 100, { error_subcode: '33' })).toBe('stop_sender')
    expect(outcome(400, 100, { error_subcode: 2_494_010 })).toBe('failed')
    expect(outcome(400, 131009, { error_subcode: 33 })).toBe('failed')
  })

  test('is in the table once', () => {
    const codes = listRules(META_SEND_ERRORS).map((rule) => rule.codes)

    expect(new Set(codes).size).toBe(codes.length)
  })
})

describe('a code of Meta that the table does not decide', () => {
  const UNDECIDED = [1, 135000, 147005, 133016, 999_999, -1, 199, 300]

  test.each<[number, string]>([
    [200, 'unknown'],
    [301, 'unknown'],
    [400, 'failed'],
    [401, 'failed'],
    [403, 'failed'],
    [404, 'failed'],
    [408, 'unknown'],
    [413, 'failed'],
    [429, 'number_rate'],
    [499, 'failed'],
    [500, 'unknown'],
    [503, 'unknown'],
  ])('with HTTP %i leads to %s', (status, expected) => {
    for (const code of UNDECIDED) expect([code, outcome(status, code)]).toEqual([code, expected])
  })

  test('may have gone wrong after the message was taken when the error is transient', () => {
    expect(outcome(400, 1, { is_transient: true })).toBe('unknown')
    expect(outcome(403, 999_999, { is_transient: true })).toBe('unknown')
    expect(outcome(429, 1, { is_transient: true })).toBe('number_rate')
    expect(outcome(400, 1, { is_transient: 'true' })).toBe('failed')
    expect(outcome(400, 131026, { is_transient: true })).toBe('failed')
  })
})

describe('an answer without a code of Meta', () => {
  test.each<[number, string, string]>([
    [200, 'unknown', 'unknown'],
    [301, 'unknown', 'unknown'],
    [400, 'failed', 'refused_on_the_way'],
    [401, 'stop_sender', 'stop_sender'],
    [403, 'stop_sender', 'stop_sender'],
    [404, 'failed', 'refused_on_the_way'],
    [407, 'stop_sender', 'stop_sender'],
    [408, 'unknown', 'unknown'],
    [413, 'failed', 'failed'],
    [429, 'number_rate', 'number_rate'],
    [500, 'unknown', 'unknown'],
    [502, 'unknown', 'unknown'],
    [504, 'unknown', 'unknown'],
  ])('with HTTP %i leads to %s where Meta wrote it, else to %s', (status, fromMeta, fromAnother) => {
    for (const code of [undefined, null, '', 'x', '4x', 1.5, 1e300, [190], {}, true])
      expect([code, outcome(status, code)]).toEqual([code, fromMeta])
    for (const body of [
      undefined,
      null,
      '<html>',
      [],
      [answer(190)],
      { error: null },
      { error: 'invalid_token' },
      { error: {} },
      { error: { error: { code: 190 } } },
      { code: 190 },
      { errors: [{ code: 190 }] },
      { error: { code: status, message: 'written by a gateway', status: 'PERMISSION_DENIED' } },
    ])
      expect([body, outcomeOf(readMetaError(status, body))]).toEqual([body, fromAnother])
  })
})

describe('the words of Meta', () => {
  test('are kept, with the code as a number', () => {
    const result = readMetaError(400, answer('131026', { error_data: { details: 'why' } }))

    expect(result).toEqual({
      kind: 'failed',
      error: { code: 131026, message: 'refused', details: 'why' },
    })
  })

  test('are the HTTP status where there are none', () => {
    expect(readMetaError(502, undefined)).toMatchObject({
      error: { code: 'http_502', message: "HTTP 502 without an answer of Meta's" },
    })
    expect(readMetaError(500, { error: { code: null } })).toMatchObject({
      error: { code: 'http_500', message: 'HTTP 500' },
    })
  })
})
