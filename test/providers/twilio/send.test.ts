import { beforeEach, describe, expect, test } from 'vitest'
import type { OutboundMessage } from '../../../src/core/outbound.ts'
import { createTwilioSender } from '../../../src/providers/twilio/send.ts'
import {
  type FakeTwilio,
  startFakeTwilio,
  TWILIO_SENDING_ACCOUNT,
  twilioError,
} from '../../support/fake-twilio.ts'

const TOKEN = 'c0ffee00c0ffee00c0ffee00c0ffee00'
const CALLBACK_ID = '7d0f0c9e-9d55-4c0f-8a35-0b4a8c6d2f11'
const SERVICE = `MG${'0'.repeat(32)}`

let twilio: FakeTwilio

beforeEach(async () => {
  twilio = await startFakeTwilio()
})

const message = (fields: Partial<OutboundMessage> = {}): OutboundMessage => ({
  message_id: '1',
  provider: 'twilio',
  business_number: '15550001234',
  recipient: { phone: '15551230001' },
  callback_id: CALLBACK_ID,
  content: { type: 'text', text: 'Hello' },
  ...fields,
})
const sender = (publicUrl: string | undefined = 'https://hooks.example.com') =>
  createTwilioSender({ accountSid: TWILIO_SENDING_ACCOUNT, authToken: TOKEN, apiUrl: twilio.url, publicUrl })
const send = (fields: Partial<OutboundMessage> = {}) =>
  sender().send(message(fields), AbortSignal.timeout(5_000))

describe('a message through Twilio', () => {
  test('goes out with the credentials and a status address that carries the callback id', async () => {
    const result = await send()

    expect(result).toEqual({ kind: 'accepted', wa_message_id: twilio.messages[0]?.sid })
    expect(twilio.calls[0]?.path).toBe(`/2010-04-01/Accounts/${TWILIO_SENDING_ACCOUNT}/Messages.json`)
    expect(twilio.calls[0]?.headers.authorization).toBe(
      `Basic ${Buffer.from(`${TWILIO_SENDING_ACCOUNT}:${TOKEN}`).toString('base64')}`,
    )
    expect(twilio.sent()).toEqual([
      {
        To: 'whatsapp:+15551230001',
        From: 'whatsapp:+15550001234',
        Body: 'Hello',
        StatusCallback: `https://hooks.example.com/webhooks/twilio?callback_id=${CALLBACK_ID}#rc=5&rp=all&ct=2000&rt=5000&tt=15000`,
      },
    ])
  })

  test.each<[string, Partial<OutboundMessage>, object]>([
    ['from a messaging service', { business_number: SERVICE }, { MessagingServiceSid: SERVICE }],
    ['to a user id', { recipient: { user_id: 'US.1349' } }, { To: 'whatsapp:US.1349' }],
    [
      'an image with a caption',
      { content: { type: 'image', media: { url: 'https://example.com/a.jpg', caption: 'Look' } } },
      { MediaUrl: 'https://example.com/a.jpg', Body: 'Look' },
    ],
    [
      'a template',
      {
        content: {
          type: 'template',
          template: { content_sid: `HX${'0'.repeat(32)}`, variables: { 1: 'Ada' } },
        },
      },
      { ContentSid: `HX${'0'.repeat(32)}`, ContentVariables: '{"1":"Ada"}' },
    ],
  ])('%s', async (_, fields, form) => {
    expect((await send(fields)).kind).toBe('accepted')

    expect(twilio.sent()[0]).toMatchObject(form)
  })

  test.each<[string, Partial<OutboundMessage>]>([
    ['a reaction', { content: { type: 'reaction', reaction: { message_id: '5', emoji: '👍' } } }],
    ['an upload', { content: { type: 'image', media: { id: '99' } } }],
    ['a template of Meta', { content: { type: 'template', template: { name: 'order', language: 'en' } } }],
    ['a message to a group', { recipient: { group_id: 'G1' } }],
  ])('is not called for %s, which Twilio does not send', async (_, fields) => {
    expect(await send(fields)).toMatchObject({ kind: 'failed', error: { code: 'unsupported' } })
    expect(twilio.calls).toEqual([])
  })

  test('goes out without a status address where there is no public one', async () => {
    const plain = createTwilioSender({
      accountSid: TWILIO_SENDING_ACCOUNT,
      authToken: TOKEN,
      apiUrl: twilio.url,
    })

    await plain.send(message(), AbortSignal.timeout(5_000))

    expect(twilio.sent()[0]).not.toHaveProperty('StatusCallback')
  })

  test.each<[string, unknown]>([
    ['no SID', {}],
    ['an odd SID', { sid: 'hello' }],
    ['no JSON', 'ok'],
  ])('may have been sent when the answer has %s', async (_, body) => {
    twilio.next((__, exchange) => exchange.answer(201, body))

    expect(await send()).toMatchObject({ kind: 'unknown', error: { code: 'no_message_id' } })
  })

  test('ends with the words of Twilio when it is refused', async () => {
    twilio.next(twilioError(63016, { message: 'Outside of the window' }))

    expect(await send()).toEqual({ kind: 'failed', error: { code: 63016, message: 'Outside of the window' } })
  })
})

describe('what became of a text whose answer was lost', () => {
  const around = (ms = 0) => ({
    after: new Date(Date.now() - 60_000 + ms),
    before: new Date(Date.now() + 60_000 + ms),
  })
  const find = (fields: object = {}) =>
    sender().findSent?.(
      {
        business_number: '15550001234',
        recipient: { phone: '15551230001' },
        text: 'Hello',
        ...around(),
        ...fields,
      },
      AbortSignal.timeout(5_000),
    )

  test('is found by recipient, our number, text and time', async () => {
    twilio.always((call, exchange) => {
      twilio.take(call)
      exchange.cut()
    })
    await send()
    await send({ content: { type: 'text', text: 'Another' } })
    await send({ recipient: { phone: '15551230002' } })
    await send({ business_number: '15550009999' })
    const sid = twilio.messages.at(-1)?.sid

    expect(await find()).toMatchObject([
      { wa_message_id: sid, status: 'queued', business_number: '15550001234' },
    ])
    expect(await find({ text: 'Nothing' })).toEqual([])
    expect(await find(around(-3_600_000))).toEqual([])
  })

  test.each(['Hello\nthere', '  Hello\r\nthere\n', 'Hello\nthere\t'])(
    'is found as %j where Twilio keeps it without blanks at its ends',
    async (text) => {
      await send({ content: { type: 'text', text } })
      const [kept] = twilio.messages
      if (kept) kept.body = 'Hello\nthere'

      expect(await find({ text })).toMatchObject([{ wa_message_id: kept?.sid }])
      for (const other of [
        'Hello there',
        'Hello\n\nthere',
        'Hellothere',
        'hello\nthere',
        'Hello\nthere.',
        '',
      ])
        expect([other, await find({ text: other })]).toEqual([other, []])
    },
  )

  test('is looked for on the pages that reach back far enough', async () => {
    await send()
    const sid = twilio.messages[0]?.sid
    for (let i = 0; i < 150; i++)
      twilio.messages.unshift({
        ...twilio.messages.at(-1)!,
        sid: `SM${String(i).padStart(32, '0')}`,
        body: 'x',
      })

    expect(await find()).toMatchObject([{ wa_message_id: sid }])
  })

  test('is not known when Twilio does not answer', async () => {
    await twilio.refuse()

    expect(await find()).toBeUndefined()
  })
})
