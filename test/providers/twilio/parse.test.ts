import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { WebhookEvent } from '../../../src/core/event.ts'
import { parseTwilioWebhook } from '../../../src/providers/twilio/parse.ts'
import {
  TWILIO_ACCOUNT_SID,
  type TwilioForm,
  type TwilioRequest,
  twilioJsonWebhook,
  twilioMessage,
  twilioSid,
  twilioStatus,
  twilioWebhook,
} from '../../support/twilio-webhooks.ts'

const HASHED = /^[a-z]+\.[0-9a-f]{64}$/

describe('an inbound message', () => {
  test('is one event under its MessageSid, with the form as it came', () => {
    const sid = twilioSid(11)

    expect(parse(twilioMessage({ MessageSid: sid }))).toEqual({
      job_id: sid,
      event: {
        v: 1,
        kind: 'message',
        provider: 'twilio',
        received_at: 1_763_700_000_000,
        wa_message_id: sid,
        account: TWILIO_ACCOUNT_SID,
        business_number: '15550001234',
        field: 'inbound',
        payload: JSON.stringify(twilioMessage({ MessageSid: sid })),
      },
    })
  })

  test.each([
    [
      'SmsSid where MessageSid is missing',
      { MessageSid: undefined, SmsMessageSid: twilioSid(9) },
      twilioSid(12),
    ],
    ['SmsSid where MessageSid is empty', { MessageSid: '' }, twilioSid(12)],
    ['SmsMessageSid where both are missing', { MessageSid: undefined, SmsSid: undefined }, twilioSid(12)],
  ])('is known by %s', (_, fields, expected) => {
    const { job_id, event } = parse({ ...twilioMessage({ MessageSid: twilioSid(12) }), ...fields })

    expect([job_id, event.wa_message_id]).toEqual([expected, expected])
  })

  test('is recognised without SmsStatus by what it carries', () => {
    const bare = { MessageSid: twilioSid(13), From: 'whatsapp:+15551230001', To: 'whatsapp:+15550001234' }

    expect(parse({ ...bare, Body: 'hello' }).event.kind).toBe('message')
    expect(parse({ ...bare, NumMedia: '1', MediaUrl0: 'https://x.example/1' }).event.kind).toBe('message')
    expect(parse(bare).event.kind).toBe('other')
  })

  test('is recognised on the fallback URL, where ErrorCode and ErrorUrl speak of the first call', () => {
    const form = twilioMessage({ ErrorCode: '11200', ErrorUrl: 'https://hooks.example.com/webhooks/twilio' })

    expect(parse(form)).toMatchObject({ job_id: twilioSid(1), event: { kind: 'message' } })
  })

  test('is hashed where its id could not be a job id, and keeps the id', () => {
    for (const sid of ['wait', '12345', 'a:b:c', 'SM123', "SM' OR 1=1", '__proto__']) {
      const { job_id, event } = parse(twilioMessage({ MessageSid: sid }))
      expect(job_id).toMatch(/^message\.[0-9a-f]{64}$/)
      expect(event).toMatchObject({ wa_message_id: sid })
      expect(event.park).toBeUndefined()
    }
  })

  test.each([
    ['is missing', { MessageSid: undefined, SmsSid: undefined, SmsMessageSid: undefined }, /no message id/],
    ['is longer than 512 bytes', { MessageSid: `SM${'\u00e9'.repeat(256)}` }, /longer than 512 bytes/],
    ['has a U+0000', { MessageSid: 'SM1\u0000' }, /cannot store/],
  ])('is parked under its content when its id %s', (_, fields, reason) => {
    const form = { ...twilioMessage({ Body: 'one' }), ...fields }
    const { job_id, event } = parse(form)

    expect(job_id).toMatch(HASHED)
    expect(event.park).toMatch(reason)
    expect(event.wa_message_id).toBeUndefined()
    expect(parse(form).job_id).toBe(job_id)
    expect(parse({ ...form, Body: 'two' }).job_id).not.toBe(job_id)
  })
})

describe('a status callback', () => {
  test.each([
    'queued',
    'sending',
    'sent',
    'failed',
    'delivered',
    'undelivered',
    'accepted',
    'scheduled',
    'read',
    'partially_delivered',
    'canceled',
    'in_orbit',
  ])('%s is one event under status and MessageSid', (status) => {
    expect(parse(twilioStatus(status))).toMatchObject({
      job_id: `status.${status}.${twilioSid(2)}`,
      event: { kind: 'status', wa_message_id: twilioSid(2), field: 'status', business_number: '15550001234' },
    })
  })

  test.each(['received', 'receiving'])('%s is none of a message, without content', (status) => {
    expect(parse(twilioStatus(status)).event.kind).toBe('status')
  })

  test('needs no more than an id and a status', () => {
    expect(parse({ MessageSid: twilioSid(3), MessageStatus: 'Delivered' }).job_id).toBe(
      `status.delivered.${twilioSid(3)}`,
    )
    expect(parse({ SmsSid: twilioSid(3), SmsStatus: 'sent' }).job_id).toBe(`status.sent.${twilioSid(3)}`)
    expect(parse({ MessageSid: twilioSid(3), EventType: 'READ' }).job_id).toBe(`status.read.${twilioSid(3)}`)
  })

  test('is hashed when its status word could not be part of a job id', () => {
    for (const status of ['de:livered', 'sent.', '7', 'x'.repeat(60)]) {
      expect(parse(twilioStatus(status)).job_id).toMatch(/^status\.[0-9a-f]{64}$/)
    }
  })

  test('is parked without an id', () => {
    expect(parse({ MessageStatus: 'sent', To: 'whatsapp:+15551230001' }).event.park).toMatch(/no message id/)
  })

  test('carries the callback id that our send put into its URL', () => {
    const callback_id = randomUUID()
    const url = `/webhooks/twilio?x=1&callback_id=${callback_id.toUpperCase()}`

    expect(parse(twilioStatus('sent'), { url }).event.context).toBe(JSON.stringify({ callback_id }))
  })

  test.each(['', 'not-a-uuid', '%00'])('carries no callback id that is not ours: %j', (value) => {
    const url = `/webhooks/twilio?callback_id=${value}`

    expect(parse(twilioStatus('sent'), { url }).event).not.toHaveProperty('context')
  })
})

describe('everything else', () => {
  test.each([
    [
      'a Conversations event, although it has MessageSid and Body',
      {
        EventType: 'onMessageAdded',
        ConversationSid: `CH${'0'.repeat(32)}`,
        MessageSid: `IM${'0'.repeat(32)}`,
        Body: 'hello',
        Author: 'whatsapp:+15551230001',
        AccountSid: TWILIO_ACCOUNT_SID,
      },
      'onMessageAdded',
    ],
    [
      'a debugger event',
      {
        Sid: `NO${'0'.repeat(32)}`,
        Level: 'ERROR',
        Payload: '{"error_code":"11200"}',
        AccountSid: TWILIO_ACCOUNT_SID,
      },
      undefined,
    ],
    [
      'a call',
      {
        CallSid: `CA${'0'.repeat(32)}`,
        CallStatus: 'ringing',
        From: '+15551230001',
        AccountSid: TWILIO_ACCOUNT_SID,
      },
      undefined,
    ],
    [
      'an event of another product, although it has From and Body',
      {
        EventType: 'onMessageAdd',
        ChannelSid: `CH${'0'.repeat(32)}`,
        From: 'ada',
        Body: 'hello',
        AccountSid: TWILIO_ACCOUNT_SID,
      },
      'onMessageAdd',
    ],
    [
      'an SMS',
      {
        MessageSid: twilioSid(1),
        SmsStatus: 'received',
        From: '+15551230001',
        To: '+15550001234',
        Body: 'hello',
        AccountSid: TWILIO_ACCOUNT_SID,
      },
      'other_channel',
    ],
    [
      'the status of an SMS',
      {
        MessageSid: twilioSid(1),
        MessageStatus: 'sent',
        From: 'ACME',
        To: '+15551230001',
        AccountSid: TWILIO_ACCOUNT_SID,
      },
      'other_channel',
    ],
    [
      'a message of another channel, also without an id',
      {
        SmsStatus: 'received',
        From: 'messenger:42',
        To: 'messenger:43',
        Body: 'hello',
        AccountSid: TWILIO_ACCOUNT_SID,
      },
      'other_channel',
    ],
    ['a text from nobody', { Body: 'hello', AccountSid: TWILIO_ACCOUNT_SID }, undefined],
  ])('%s is kept whole', (_, form, field) => {
    const { job_id, event } = parse(form)

    expect(job_id).toMatch(/^event\.[0-9a-f]{64}$/)
    expect(event).toMatchObject({ kind: 'other', account: TWILIO_ACCOUNT_SID, payload: JSON.stringify(form) })
    expect(event.field).toBe(field)
  })

  test('a JSON list is one event for each item, with numbers that no double holds', () => {
    const body = Buffer.from('[{"id":"EZ1","data":{"n":12345678901234567890}},\n{"id":"EZ2","n":1.10}]')
    const events = parseTwilioWebhook(twilioJsonWebhook(body)).map(({ event }) => event)

    expect(events.map(({ kind, payload }) => [kind, payload])).toEqual([
      ['other', '{"id":"EZ1","data":{"n":12345678901234567890}}'],
      ['other', '{"id":"EZ2","n":1.1}'],
    ])
  })

  test('a JSON object is one event, its text as it came', () => {
    const body = Buffer.from(' {"EventType": "onConversationAdded", "n": 1e400}\n')
    const [job] = parseTwilioWebhook(twilioJsonWebhook(body))

    expect(job?.event).toMatchObject({
      kind: 'other',
      field: 'onConversationAdded',
      payload: '{"EventType": "onConversationAdded", "n": 1e400}',
    })
  })

  test('a message that was posted as JSON is a message', () => {
    const jobs = parseTwilioWebhook(twilioJsonWebhook(twilioMessage({ NumMedia: undefined })))

    expect(jobs).toMatchObject([{ job_id: twilioSid(1), event: { kind: 'message' } }])
  })

  test.each([
    ['nothing', ''],
    ['text', 'hello'],
    ['XML', '<Response a="b"/>'],
    ['broken JSON', '{"a":'],
    ['JSON nested 100,000 levels deep', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['bytes', '\u0000\u0001=\u0002'],
  ])('%s is kept as bytes and parked', (_, body) => {
    const rawBody = Buffer.from(body)
    const jobs = parseTwilioWebhook(twilioWebhook(rawBody))

    expect(jobs).toHaveLength(1)
    expect(jobs[0]).toMatchObject({
      job_id: expect.stringMatching(HASHED),
      event: {
        kind: 'unreadable',
        payload: rawBody.toString('base64'),
        park: expect.stringMatching(/neither/),
      },
    })
  })

  test('JSON that is no UTF-8 is kept as bytes', () => {
    const rawBody = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])
    const [job] = parseTwilioWebhook(twilioJsonWebhook(rawBody))

    expect(job?.event).toMatchObject({ kind: 'unreadable', payload: rawBody.toString('base64') })
  })
})

function parse(form: TwilioForm, request: TwilioRequest = {}): { job_id: string; event: WebhookEvent } {
  const [job, ...others] = parseTwilioWebhook(twilioWebhook(form, request))
  expect(others).toEqual([])
  if (job === undefined) throw new Error('no event')
  return job
}
