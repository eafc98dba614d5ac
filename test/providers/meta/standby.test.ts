/** What Meta sends of a conversation that another app holds: Meta Business Agent, say. */
import { describe, expect, test } from 'vitest'
import {
  META_CUSTOMER_PHONE,
  META_PHONE_NUMBER_ID,
  metaChange,
  metaContact,
  metaMessage,
  metaSentEcho,
  metaStandby,
  metaStatus,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { IMAGE, MESSAGE_FIXTURES } from './fixtures.ts'
import { eventsOf, factsOf, jobsOf, onlyMessage, payloadOf } from './meta-facts.ts'

const CUSTOMER = META_CUSTOMER_PHONE
const USER_ID = 'US.10000000000000000001'

const standby = (lists: Record<string, unknown>) => metaWebhook([metaStandby(lists)])
const echo = (request: Record<string, unknown>, fields: Record<string, unknown> = {}) =>
  onlyMessage(standby({ message_echoes: [metaSentEcho(request, fields)] }))

describe('a message in standby', () => {
  test.each(MESSAGE_FIXTURES)('is read like any other: $name', ({ message, content }) => {
    const item = metaMessage(message)

    expect(onlyMessage(standby({ messages: [item], contacts: [metaContact()] }))).toMatchObject({
      direction: 'inbound',
      source: 'standby',
      business_number: META_PHONE_NUMBER_ID,
      contact: { phone: CUSTOMER, name: 'Ada Example' },
      ...(content === undefined ? {} : { content }),
    })
  })

  test('has a job of its own beside that of the same message under `messages`', () => {
    const [job] = jobsOf(standby({ messages: [metaMessage({ id: 'wamid.A' })] }))

    expect(job?.job_id).toBe('standby.wamid.A')
    expect(job?.event).toMatchObject({ kind: 'message', wa_message_id: 'wamid.A', field: 'standby' })
  })

  test('is one also where the lists are not one level deeper, and where the field has another name', () => {
    const flat = metaWebhook([metaChange({ messages: [metaMessage({ id: 'wamid.A' })] }, 'standby')])
    const renamed = metaWebhook([
      metaChange({ standby: { messages: [metaMessage({ id: 'wamid.A' })] } }, 'messages'),
    ])

    expect([onlyMessage(flat).source, onlyMessage(renamed).source]).toEqual(['standby', 'standby'])
  })

  test('leaves those beside it as they are', () => {
    const value = { messages: [metaMessage({ id: 'wamid.A' })], standby: { messages: [metaMessage()] } }

    expect(factsOf(metaWebhook([metaChange(value)]))).toMatchObject([
      { kind: 'message', source: 'standby' },
      { kind: 'message', source: 'webhook', wa_message_id: 'wamid.A' },
    ])
  })
})

describe('what another app has sent', () => {
  test('is a message that the business sent', () => {
    expect(echo({})).toMatchObject({
      direction: 'outbound',
      source: 'standby',
      status: 'sent',
      business_number: META_PHONE_NUMBER_ID,
      contact: { phone: CUSTOMER },
      message_type: 'text',
      content: 'We open at nine.',
      sent_at: new Date(1760000000000),
    })
  })

  test.each([
    [{ to: `+${CUSTOMER}` }, { phone: CUSTOMER }],
    [{ recipient: CUSTOMER }, { phone: CUSTOMER }],
    [{ to: undefined, recipient: CUSTOMER }, { phone: CUSTOMER }],
    [{ to: undefined, recipient: USER_ID }, { user_id: USER_ID }],
    [{ recipient: USER_ID }, { phone: CUSTOMER, user_id: USER_ID }],
    [{ to: 'group-1', recipient_type: 'group' }, { group_id: 'group-1' }],
  ])('goes to whom the request names: %j', (request, contact) => {
    expect(echo(request).contact).toEqual(contact)
  })

  test.each([
    [{ type: 'image', image: { link: 'https://example.test/a.jpg', caption: 'Map' } }, 'image', 'Map'],
    [
      { type: 'template', template: { name: 'order_ready', language: { code: 'en' } } },
      'template',
      'order_ready',
    ],
    [
      { type: 'interactive', interactive: { type: 'button', body: { text: 'Which?' } } },
      'interactive',
      'Which?',
    ],
    [
      { type: 'interactive', interactive: { type: 'request_contact_info', body: { text: 'Your number?' } } },
      'interactive',
      'Your number?',
    ],
    [{ type: undefined }, 'text', 'We open at nine.'],
  ])('has the content of the request: %j', (request, message_type, content) => {
    expect(echo(request)).toMatchObject({ message_type, content })
  })

  test('has the file, the answered message and the reacted one, which a request spells in its own way', () => {
    const link = 'https://example.test/a.jpg'

    expect(echo({ type: 'image', image: { link } }).media).toEqual([{ url: link }])
    expect(echo({ context: { message_id: 'wamid.T' } }).reply_to_wa_message_id).toBe('wamid.T')
    expect(
      echo({ type: 'reaction', reaction: { message_id: 'wamid.T', emoji: '👍' } }).target_wa_message_id,
    ).toBe('wamid.T')
  })

  test('keeps the definition of a template in its payload, and is not mistaken for it', () => {
    const template = { name: 'definition', components: [{ type: 'BODY', text: 'Hello {{1}}' }] }
    const item = metaSentEcho({ type: 'template', template: { name: 'greeting' } }, { template })

    const [event] = eventsOf(standby({ message_echoes: [item] }))

    expect(payloadOf(event)).toEqual(item)
    expect(onlyMessage(standby({ message_echoes: [item] })).content).toBe('greeting')
  })

  test('may have the form of the phone app', () => {
    const item = metaMessage({ from: '15550009999', to: CUSTOMER, type: 'image', image: IMAGE })

    expect(onlyMessage(standby({ message_echoes: [item] }))).toMatchObject({
      direction: 'outbound',
      source: 'standby',
      contact: { phone: CUSTOMER },
    })
  })
})

test('a status in standby is the same job and the same status as any other', () => {
  const statuses = [metaStatus({ id: 'wamid.A', status: 'read' })]

  const [job] = jobsOf(standby({ statuses }))

  expect(job?.job_id).toBe('status.read.wamid.A')
  expect(factsOf(standby({ statuses }))).toMatchObject([
    { kind: 'status', wa_message_id: 'wamid.A', status: 'read', business_number: META_PHONE_NUMBER_ID },
  ])
})

describe('of an unexpected shape', () => {
  test.each([
    [],
    {},
    null,
    7,
    'x',
    [metaMessage()],
    { messages: {} },
    { messages: [], statuses: null },
    { conversation_summary: 'x' },
  ])('the value is kept whole, as an event: %j', (value) => {
    const change = metaChange({ standby: value }, 'standby')

    const [event, ...more] = eventsOf(metaWebhook([change]))

    expect(more).toEqual([])
    expect(event).toMatchObject({ kind: 'other', field: 'standby' })
    expect(payloadOf(event)).toEqual(change.value)
  })

  test('what is left beside the lists is kept as an event', () => {
    const messages = [metaMessage({ id: 'wamid.A' })]
    const change = metaChange(
      {
        standby: { messages, statuses: 'none', contacts: [metaContact({ wa_id: '15550007777' })] },
        extra: 1,
      },
      'standby',
    )

    const events = eventsOf(metaWebhook([change]))

    expect(events.map(({ kind }) => kind)).toEqual(['message', 'other', 'other'])
    expect(payloadOf(events[1])).toEqual({
      statuses: 'none',
      contacts: [metaContact({ wa_id: '15550007777' })],
    })
    expect(payloadOf(events[2])).toMatchObject({ extra: 1 })
  })

  test.each([null, 7, 'x', [], {}, { id: 7 }, { id: '' }, { message: {} }])(
    'an echo without a usable id is parked: %j',
    (item) => {
      expect(factsOf(standby({ message_echoes: [item] }))).toMatchObject([{ kind: 'parked' }])
    },
  )

  test.each([null, 7, 'x', [], {}, { to: {}, recipient: [] }, { type: 9, text: 8 }])(
    'an echo with an id is a message, whatever was sent: %j',
    (message) => {
      const item = { id: 'wamid.A', timestamp: '1760000000', message }

      expect(factsOf(standby({ message_echoes: [item] }))).toMatchObject([
        { kind: 'message', direction: 'outbound', wa_message_id: 'wamid.A' },
      ])
    },
  )
})
