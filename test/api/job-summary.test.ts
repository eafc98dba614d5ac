import { describe, expect, test } from 'vitest'
import { summarizeJobData, summarizeResult } from '../../src/api/job-summary.ts'

describe('the data of a job on Bull Board', () => {
  test('has the kind and size of an event, and no content', () => {
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

  test('has the reason why an event was parked, without the refused value', () => {
    expect(summarizeJobData({ park: 'timestamp "1555000123456" is no time' }).park).toBe(
      'timestamp "…" is no time',
    )
  })
})

test('the result of a job is shown if it is a word or a number; otherwise only its size is', () => {
  expect(summarizeResult('stored')).toBe('stored')
  expect(summarizeResult(3)).toBe(3)
  expect(summarizeResult(null)).toBe(null)
  expect(summarizeResult({ text: 'hello' })).toEqual({ hidden_bytes: 16 })
})
