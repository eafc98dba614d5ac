import { describe, expect, test } from 'vitest'
import { maskText, summarizeJobData, summarizeResult } from '../../src/api/job-summary.ts'

describe('the data of a job, as the board shows it', () => {
  test('says what an event is and how large, and nothing of what is in it', () => {
    const event = {
      v: 1,
      kind: 'message',
      provider: 'meta',
      field: 'messages',
      received_at: 1_790_000_000_000,
      wa_message_id: 'wamid.HBgLMTU1NTAwMDEyMzQ=',
      account: '102290129340398',
      business_number: '106540352242922',
      context: '{"contacts":[{"profile":{"name":"Ada Example"}}]}',
      payload: '{"from":"15550001234","text":{"body":"My pin is 4321"}}',
    }

    const summary = summarizeJobData(event)

    expect(summary).toEqual({
      v: 1,
      kind: 'message',
      provider: 'meta',
      field: 'messages',
      received_at: 1_790_000_000_000,
      payload_bytes: event.payload.length,
      context_bytes: event.context.length,
      hidden: ['wa_message_id', 'account', 'business_number'],
    })
  })

  test.each([
    ['text', 'My pin is 4321'],
    ['a list', ['My pin is 4321']],
    ['an unknown shape', { text: { body: 'My pin is 4321' } }],
    ['content where a word should be', { kind: 'My pin is 4321' }],
    ['nothing', undefined],
  ])('hides %s', (_name, data) => {
    expect(JSON.stringify(summarizeJobData(data))).not.toContain('4321')
  })

  test('shows why an event was parked, without the value that was refused', () => {
    expect(summarizeJobData({ park: 'timestamp "1555000123456" is no time' }).park).toBe(
      'timestamp "…" is no time',
    )
  })
})

test('shows the result of a job when it is a word or a number, and its size when it is more', () => {
  expect(summarizeResult('stored')).toBe('stored')
  expect(summarizeResult(3)).toBe(3)
  expect(summarizeResult(null)).toBe(null)
  expect(summarizeResult({ text: 'hello' })).toEqual({ hidden_bytes: 16 })
})

describe('the text of an error', () => {
  test.each([
    ['duplicate key in relation "chat_messages"', 'duplicate key in relation "chat_messages"'],
    ['invalid input syntax for type integer: "My pin"', 'invalid input syntax for type integer: "…"'],
    [
      `Unexpected token 'M', "My pin is 4"... is not valid JSON`,
      `Unexpected token 'M', "…"... is not valid JSON`,
    ],
    [
      'relation "webhook_events" has "Ada" in "chat_messages"',
      'relation "webhook_events" has "…" in "chat_messages"',
    ],
    ['an open quote: "My pin is', 'an open quote: "…"'],
    ['no contact 15550001234', 'no contact …'],
    ['connect ECONNREFUSED 10.0.0.1:5432', 'connect ECONNREFUSED 10.0.0.1:5432'],
  ])('%s', (text, masked) => {
    expect(maskText(text)).toBe(masked)
  })

  test('names a message without the phone number in its id', () => {
    expect(maskText('wamid.HBgLMTU1NTAwMDEyMzQ= was refused')).toMatch(/^wamid~[0-9a-f]{12} was refused$/)
  })
})
