import { describe, expect, test } from 'vitest'
import { listRules } from '../../../src/providers/send-errors.ts'
import { TWILIO_SEND_ERRORS } from '../../../src/providers/twilio/send-error-codes.ts'
import { readTwilioError } from '../../../src/providers/twilio/send-errors.ts'
import { expectWithEveryStatus, outcomeOf } from '../send-outcomes.ts'

const outcome = (status: number, code: unknown) =>
  outcomeOf(
    readTwilioError(status, { code, message: 'refused', more_info: 'https://www.twilio.com', status }),
  )

describe('a code of Twilio', () => {
  test.each<[string, readonly number[]]>([
    ['stop_sender', [10001, 20003, 20005, 20008, 20010, 20403, 20404, 21212, 21606, 21607, 21659, 21660]],
    ['stop_sender', [21701, 21703, 21704, 21705, 30002, 30404, 63001, 63002, 63007, 63008, 63020, 63112]],
    ['stop_sender', [90010]],
    ['account_concurrency', [20429, 63017]],
    ['number_queue_full', [21611, 30001]],
    ['number_rate', [63018]],
    ['account_limit', [63038]],
    ['provider_maintenance', [21730]],
    ['failed', [20422, 21211, 21608, 21610, 21617, 21655, 21656, 21658, 63003, 63013, 63015, 63016]],
    ['failed', [63019, 63021, 63024, 63032]],
    ['unknown', [20500, 20503]],
  ])('leads to %s with every HTTP status, as a number or as text: %j', (expected, codes) => {
    expectWithEveryStatus(outcome, codes, expected)
  })

  test('is in the table once', () => {
    const codes = listRules(TWILIO_SEND_ERRORS).map((rule) => rule.codes)

    expect(new Set(codes).size).toBe(codes.length)
  })
})

describe('another answer of Twilio', () => {
  test.each<[number, string, string]>([
    [302, 'unknown', 'unknown'],
    [400, 'failed', 'refused_on_the_way'],
    [401, 'failed', 'stop_sender'],
    [403, 'failed', 'stop_sender'],
    [404, 'failed', 'refused_on_the_way'],
    [407, 'failed', 'stop_sender'],
    [408, 'unknown', 'unknown'],
    [413, 'failed', 'failed'],
    [429, 'account_concurrency', 'account_concurrency'],
    [500, 'unknown', 'unknown'],
    [502, 'unknown', 'unknown'],
  ])('with HTTP %i leads to %s with a code that is not listed, to %s without one', (status, coded, other) => {
    for (const code of [20001, 99_999, '21999']) expect([code, outcome(status, code)]).toEqual([code, coded])
    for (const body of [
      undefined,
      null,
      '<html>',
      [],
      [{ code: 20429 }],
      {},
      { code: null },
      { code: '' },
      { code: 'x' },
      { code: status, message: 'written by a gateway' },
      { code: 1e300 },
      { error: { code: 20429 } },
      { errors: [{ code: 20429 }] },
    ])
      expect([body, outcomeOf(readTwilioError(status, body))]).toEqual([body, other])
  })
})

test('the words of Twilio are kept, with the code as a number', () => {
  expect(readTwilioError(429, { code: '20429', message: 'Too many' })).toEqual({
    kind: 'not_sent',
    reason: 'account_concurrency',
    error: { code: 20429, message: 'Too many' },
  })
  expect(readTwilioError(502, '<html>')).toMatchObject({
    error: { code: 'http_502', message: "HTTP 502 without an answer of Twilio's" },
  })
  expect(readTwilioError(400, { message: 'No code' })).toMatchObject({
    error: { code: 'http_400', message: 'No code' },
  })
})
