import { beforeEach, describe, expect, test } from 'vitest'
import type { OutboundMessage } from '../../../src/core/outbound.ts'
import { createMetaSender } from '../../../src/providers/meta/send.ts'
import { type FakeMeta, metaError, startFakeMeta } from '../../support/fake-meta.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'

const TOKEN = 'EAAG-test-token'
const CALLBACK_ID = '7d0f0c9e-9d55-4c0f-8a35-0b4a8c6d2f11'

let meta: FakeMeta

beforeEach(async () => {
  meta = await startFakeMeta()
})

const message = (fields: Partial<OutboundMessage> = {}): OutboundMessage => ({
  message_id: '1',
  provider: 'meta',
  business_number: META_PHONE_NUMBER_ID,
  recipient: { phone: '15551230001' },
  callback_id: CALLBACK_ID,
  content: { type: 'text', text: 'Hello' },
  ...fields,
})
const sender = () => createMetaSender({ accessToken: TOKEN, graphUrl: meta.graphUrl })
const send = (fields: Partial<OutboundMessage> = {}) =>
  sender().send(message(fields), AbortSignal.timeout(5_000))

describe('a message through Meta', () => {
  test('goes to the number it is from, with the token and the callback id, and comes back with its id', async () => {
    const result = await send()

    expect(result).toEqual({ kind: 'accepted', wa_message_id: meta.idOf(CALLBACK_ID) })
    expect(meta.calls[0]?.path).toBe(`/v26.0/${META_PHONE_NUMBER_ID}/messages`)
    expect(meta.calls[0]?.headers.authorization).toBe(`Bearer ${TOKEN}`)
    expect(meta.sent()).toEqual([
      {
        messaging_product: 'whatsapp',
        recipient_type: 'individual',
        to: '+15551230001',
        type: 'text',
        text: { body: 'Hello' },
        biz_opaque_callback_data: CALLBACK_ID,
      },
    ])
  })

  test.each<[string, Partial<OutboundMessage>, object]>([
    [
      'a reply',
      { reply_to_wa_message_id: 'wamid.IN' },
      { context: { message_id: 'wamid.IN' }, text: { body: 'Hello' } },
    ],
    [
      'a text with a preview',
      { content: { type: 'text', text: 'https://example.com', preview_url: true } },
      { text: { body: 'https://example.com', preview_url: true } },
    ],
    [
      'an image by URL',
      { content: { type: 'image', media: { url: 'https://example.com/a.jpg', caption: 'Look' } } },
      { type: 'image', image: { link: 'https://example.com/a.jpg', caption: 'Look' } },
    ],
    [
      'a document that was uploaded',
      { content: { type: 'document', media: { id: '99', filename: 'offer.pdf' } } },
      { type: 'document', document: { id: '99', filename: 'offer.pdf' } },
    ],
    [
      'a voice message',
      { content: { type: 'audio', media: { id: '99', voice: true } } },
      { type: 'audio', audio: { id: '99', voice: true } },
    ],
    [
      'a template',
      {
        content: {
          type: 'template',
          template: { name: 'order_ready', language: 'en', components: [{ type: 'body', parameters: [] }] },
        },
      },
      {
        type: 'template',
        template: {
          name: 'order_ready',
          language: { code: 'en' },
          components: [{ type: 'body', parameters: [] }],
        },
      },
    ],
    [
      'a reaction',
      {
        content: { type: 'reaction', reaction: { message_id: '5', emoji: '👍' } },
        target_wa_message_id: 'wamid.IN',
      },
      { type: 'reaction', reaction: { message_id: 'wamid.IN', emoji: '👍' } },
    ],
    ['to a user id', { recipient: { user_id: 'US.1349' } }, { recipient: 'US.1349' }],
    ['to a group', { recipient: { group_id: 'G1' } }, { recipient_type: 'group', to: 'G1' }],
  ])('%s', async (_, fields, body) => {
    expect((await send(fields)).kind).toBe('accepted')

    expect(meta.sent()[0]).toMatchObject(body)
    expect(meta.sent()[0]).not.toHaveProperty(fields.recipient?.user_id === undefined ? 'recipient' : 'to')
  })

  test('a template of Twilio fails, and Meta is not asked', async () => {
    const result = await send({
      content: { type: 'template', template: { content_sid: `HX${'0'.repeat(32)}` } },
    })

    expect(result).toMatchObject({ kind: 'failed', error: { code: 'unsupported' } })
    expect(meta.calls).toEqual([])
  })

  test.each<[string, unknown]>([
    ['no message', {}],
    ['an empty id', { messages: [{ id: '' }] }],
    ['an id that no text column takes', { messages: [{ id: 'wamid.\u0000' }] }],
    ['an id of a thousand bytes', { messages: [{ id: 'w'.repeat(1000) }] }],
    ['something that is no JSON', '<html>'],
    ['a list', []],
  ])('may have been sent when the answer names %s', async (_, body) => {
    meta.next((__, exchange) => exchange.answer(200, body))

    expect(await send()).toMatchObject({ kind: 'unknown', error: { code: 'no_message_id' } })
  })

  test('ends with the words of Meta when it is refused', async () => {
    meta.next(metaError(131047, { message: 'Re-engagement message' }))

    expect(await send()).toEqual({
      kind: 'failed',
      error: { code: 131047, message: '(#131047) Re-engagement message' },
    })
  })
})

describe('a read receipt', () => {
  test('tells Meta which message was read', async () => {
    const receipt = {
      provider: 'meta',
      business_number: META_PHONE_NUMBER_ID,
      wa_message_id: 'wamid.IN',
    } as const

    expect(await sender().markRead?.(receipt, AbortSignal.timeout(5_000))).toEqual({ kind: 'done' })

    expect(meta.read()).toEqual(['wamid.IN'])
    expect(meta.sent()).toEqual([])
  })
})

test('another token is another credentialDigest, and neither is shown', () => {
  const one = createMetaSender({ accessToken: 'one', graphUrl: meta.graphUrl }).credentialDigest
  const two = createMetaSender({ accessToken: 'two', graphUrl: meta.graphUrl }).credentialDigest

  expect(one).not.toBe(two)
  expect(one).not.toContain('one')
})
