import { describe, expect, test } from 'vitest'
import type { WebhookEvent } from '../../../src/core/event.ts'
import { normalizeTwilio } from '../../../src/providers/twilio/normalize.ts'
import {
  TWILIO_ACCOUNT_SID,
  TWILIO_PATH,
  type TwilioForm,
  twilioMessage,
  twilioSid,
  twilioStatus,
} from '../../support/twilio-webhooks.ts'
import { eventOf, message, status } from './twilio-facts.ts'

describe('who wrote', () => {
  test.each([
    ['phone', {}, { phone: '15551230001' }],
    [
      'phone and user id',
      { ExternalUserId: 'whatsapp:US.13491208655302741918' },
      { phone: '15551230001', user_id: 'US.13491208655302741918' },
    ],
    [
      'user id only, as Twilio sends it for hidden numbers',
      { From: 'whatsapp:US.1234', WaId: undefined, ExternalUserId: 'whatsapp:US.1234' },
      { user_id: 'US.1234' },
    ],
    ['user id in From alone', { From: 'whatsapp:BR.a1B2', WaId: undefined }, { user_id: 'BR.a1B2' }],
    [
      'user id in From, phone in WaId',
      { From: 'whatsapp:BR.a1B2' },
      { phone: '15551230001', user_id: 'BR.a1B2' },
    ],
    [
      'parent user id',
      { ParentExternalUserId: 'whatsapp:US.ENT.77', ExternalUserId: 'whatsapp:US.7' },
      { phone: '15551230001', user_id: 'US.7', parent_user_id: 'US.ENT.77' },
    ],
    [
      'user id in the field as the changelog has it',
      { ExternalUserIdentifier: 'whatsapp:US.7' },
      { phone: '15551230001', user_id: 'US.7' },
    ],
    ['no user id that is none', { ExternalUserId: 'whatsapp:foo_bar' }, { phone: '15551230001' }],
    ['phone without the channel', { From: '+1 555 123-0001', WaId: undefined }, { phone: '15551230001' }],
    [
      'phone whose + was sent unescaped',
      { From: 'whatsapp: 15551230001', WaId: undefined },
      { phone: '15551230001' },
    ],
    ['WaId where From is missing', { From: undefined }, { phone: '15551230001' }],
    ['a sender name', { From: 'ACME', WaId: undefined }, { user_id: 'ACME' }],
    ['another channel', { From: 'messenger:42', WaId: undefined }, { user_id: 'messenger:42' }],
    ['nobody', { From: 'whatsapp:+', WaId: undefined }, {}],
  ])('%s', (_, fields, identifiers) => {
    const form = twilioMessage({ ...fields, ProfileName: undefined })

    expect(message(form).contact).toEqual(identifiers)
  })

  test('with name and username', () => {
    const form = twilioMessage({ ProfileName: 'Ada \u{1F600}', ProfileUsername: 'ada.example' })

    expect(message(form).contact).toEqual({
      phone: '15551230001',
      name: 'Ada \u{1F600}',
      username: 'ada.example',
    })
  })
})

describe('our own side', () => {
  test.each([
    ['whatsapp:+15550001234', '15550001234'],
    ['+15550001234', '15550001234'],
    ['384387', '384387'],
    ['ACME', 'ACME'],
    ['', ''],
  ])('%j is %j', (address, business_number) => {
    expect(message(twilioMessage({ To: address })).business_number).toBe(business_number)
    expect(status(twilioStatus('sent', { From: address })).business_number).toBe(business_number)
  })

  test('is the messaging service where a message names no number', () => {
    const form = twilioMessage({ To: undefined, MessagingServiceSid: twilioSid(1, 'MG') })

    expect(message(form).business_number).toBe(twilioSid(1, 'MG'))
  })
})

describe('status', () => {
  test('everything that the form says; the masked ChannelToAddress is nobody', () => {
    expect(status(twilioStatus('read'))).toEqual({
      kind: 'status',
      provider: 'twilio',
      account: TWILIO_ACCOUNT_SID,
      business_number: '15550001234',
      wa_message_id: twilioSid(2),
      status: 'read',
      participant: '',
      recipient: { phone: '15551230001' },
    })
    expect(status(twilioStatus('read', { To: undefined }))).not.toHaveProperty('recipient')
  })

  test('ties the number and the user id of a recipient', () => {
    expect(status(twilioStatus('sent', { ExternalUserId: 'whatsapp:US.7' })).recipient).toEqual({
      phone: '15551230001',
      user_id: 'US.7',
    })
    expect(status(twilioStatus('sent', { To: 'whatsapp:US.7' })).recipient).toEqual({ user_id: 'US.7' })
  })

  test('word in lower case, unknown ones as they are', () => {
    expect(status(twilioStatus('Delivered')).status).toBe('delivered')
    expect(status(twilioStatus('in_orbit')).status).toBe('in_orbit')
    expect(status({ MessageSid: twilioSid(2), EventType: 'READ' }).status).toBe('read')
  })

  test.each([
    [
      { ErrorCode: '63016', ErrorMessage: 'Outside of the window' },
      [{ code: 63016, message: 'Outside of the window' }],
    ],
    [{ ErrorCode: '21610' }, [{ code: 21610 }]],
    [{ ErrorCode: '63018', ChannelStatusMessage: 'rate' }, [{ code: 63018, message: 'rate' }]],
    [{ ErrorCode: 'odd' }, [{ code: 'odd' }]],
  ])('error %j', (fields, errors) => {
    expect(JSON.parse(status(twilioStatus('failed', fields)).errors ?? '')).toEqual(errors)
  })

  test.each([{}, { ErrorCode: '' }, { ErrorCode: '0' }])('no error: %j', (fields) => {
    expect(status(twilioStatus('failed', fields))).not.toHaveProperty('errors')
  })

  test('callback id from the URL of the callback', () => {
    const callback_id = '0b9cf9a4-6e62-4f0e-8f8f-0e6a7e9b2c11'
    const event = eventOf(twilioStatus('sent'), {
      url: `/webhooks/twilio?callback_id=${callback_id}`,
    })

    expect(normalizeTwilio(event)).toMatchObject({ callback_id })
  })
})

describe('what cannot be stored as what it claims to be is parked', () => {
  test.each([
    ['without an id', twilioMessage({ MessageSid: '', SmsSid: '', SmsMessageSid: '' }), /no message id/],
    ['from an address of 600 bytes', twilioMessage({ From: 'x'.repeat(600) }), /From is longer than 512/],
    ['to an address of 600 bytes', twilioMessage({ To: 'x'.repeat(600) }), /To is longer than 512/],
    ['with a status word of 200 bytes', twilioStatus('x'.repeat(200)), /status is longer than 128/],
  ])('%s', (_, form, reason) => {
    expect(normalizeTwilio(eventOf(form))).toEqual({ kind: 'parked', reason: expect.stringMatching(reason) })
  })

  test.each<Partial<WebhookEvent>>([
    { payload: 'no JSON' },
    { payload: '[]', kind: 'status' },
    { kind: 'echo' },
    { kind: 'history' },
    { kind: 'unreadable', payload: 'AA==' },
  ])('an event that parse never makes: %j', (fields) => {
    expect(normalizeTwilio({ ...eventOf(twilioMessage()), ...fields })).toMatchObject({ kind: 'parked' })
  })
})

describe('the channel', () => {
  const bare = { From: '+15551230001', To: '+15550001234' }
  test.each<[string, TwilioForm, string]>([
    ['a form of SMS', twilioMessage({ ...bare, WaId: undefined }), 'other'],
    [
      'the name of a sender',
      twilioStatus('sent', { From: 'ACME', To: '+15551230001', ChannelPrefix: undefined }),
      'other',
    ],
    [
      'another channel',
      twilioStatus('sent', { From: 'rcs:acme', To: 'rcs:+15551230001', ChannelPrefix: 'rcs' }),
      'other',
    ],
    [
      'WhatsApp at one end',
      twilioMessage({ From: 'WhatsApp:+15551230001', To: '+15550001234', WaId: undefined }),
      'message',
    ],
    ['WaId', twilioMessage(bare), 'message'],
    ['ChannelPrefix', twilioStatus('sent', bare), 'status'],
    [
      'no address',
      twilioStatus('sent', { From: undefined, To: undefined, ChannelPrefix: undefined }),
      'status',
    ],
  ])('%s', (_, form, kind) => {
    expect(normalizeTwilio(eventOf(form)).kind).toBe(kind)
    // As an earlier version queued it.
    const queued = {
      kind: form.MessageStatus === undefined ? 'message' : 'status',
      wa_message_id: twilioSid(1),
    } as const
    expect(normalizeTwilio({ ...eventOf(form), ...queued }).kind).toBe(kind)
  })

  test('a status with our callback_id is of our message, whatever its addresses look like', () => {
    const url = `${TWILIO_PATH}?callback_id=0b0e9a3c-3f5b-4d5e-9a53-3d3c5a6f7b8c`
    const form = twilioStatus('sent', { ...bare, ChannelPrefix: undefined })

    expect(normalizeTwilio(eventOf(form, { url })).kind).toBe('status')
  })
})

test('other events are kept and change no contact', () => {
  expect(normalizeTwilio(eventOf({ EventType: 'onMessageAdded', AccountSid: TWILIO_ACCOUNT_SID }))).toEqual({
    kind: 'other',
    identities: [],
    contacts: [],
  })
})
