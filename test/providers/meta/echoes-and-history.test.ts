import { describe, expect, test } from 'vitest'
import {
  META_BUSINESS_PHONE,
  META_CUSTOMER_PHONE,
  metaChange,
  metaContact,
  metaMessage,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { IMAGE } from './fixtures.ts'
import { eventsOf, factsOf, jobsOf, onlyMessage, payloadOf } from './meta-facts.ts'

const BUSINESS = META_BUSINESS_PHONE
const CUSTOMER = META_CUSTOMER_PHONE
const USER_ID = 'US.10000000000000000001'

const echoWebhook = (echo: Record<string, unknown>, value: Record<string, unknown> = {}) => {
  const item = metaMessage({ from: BUSINESS, to: CUSTOMER, ...echo })
  return metaWebhook([metaChange({ ...value, message_echoes: [item] }, 'smb_message_echoes')])
}

const historyWebhook = (messages: unknown[], thread: Record<string, unknown> = {}, value = {}) => {
  const chunk = {
    metadata: { phase: 0, chunk_order: 1, progress: 55 },
    threads: [{ id: CUSTOMER, ...thread, messages }],
  }
  return metaWebhook([metaChange({ ...value, history: [chunk] }, 'history')])
}

describe('an echo of the phone app', () => {
  test('is a message that the business sent', () => {
    expect(onlyMessage(echoWebhook({ text: { body: 'On my way' } }))).toMatchObject({
      direction: 'outbound',
      source: 'echo',
      status: 'sent',
      contact: { phone: CUSTOMER },
      content: 'On my way',
    })
  })

  test('has its own job beside the statuses of the same message', () => {
    const [job] = jobsOf(echoWebhook({ id: 'wamid.A' }))

    expect(job?.job_id).toBe('echo.wamid.A')
    expect(job?.event).toMatchObject({ kind: 'echo', wa_message_id: 'wamid.A', field: 'smb_message_echoes' })
  })

  test.each(['smb_message_echoes', 'message_echoes'])('is one also under `messages` of %s', (field) => {
    const messages = [metaMessage({ from: BUSINESS, to: CUSTOMER })]

    expect(onlyMessage(metaWebhook([metaChange({ messages }, field)]))).toMatchObject({
      direction: 'outbound',
      source: 'echo',
      contact: { phone: CUSTOMER },
    })
  })

  test('may go to a user id, to a person whom only contacts name, or to a group', () => {
    const contacts = [metaContact({ user_id: USER_ID })]

    expect(onlyMessage(echoWebhook({ to: undefined, to_user_id: USER_ID })).contact).toEqual({
      user_id: USER_ID,
    })
    expect(onlyMessage(echoWebhook({ to: undefined }, { contacts })).contact).toMatchObject({
      phone: CUSTOMER,
    })
    expect(onlyMessage(echoWebhook({ group_id: 'group-1' })).contact).toEqual({ group_id: 'group-1' })
    expect(onlyMessage(echoWebhook({ to: 'group-1', recipient_type: 'group' })).contact).toEqual({
      group_id: 'group-1',
    })
  })

  test.each([
    {
      type: 'edit',
      edit: { original_message_id: 'wamid.T', message: { type: 'text', text: { body: 'new' } } },
    },
    { type: 'revoke', revoke: { original_message_id: 'wamid.T' } },
  ])('may be an $type of an earlier one', (fields) => {
    expect(onlyMessage(echoWebhook(fields))).toMatchObject({
      message_type: fields.type,
      target_wa_message_id: 'wamid.T',
    })
  })

  test('of a message sent through the API brings back its callback id', () => {
    const id = '0b6ff1a2-9a3c-4a53-9d53-3d3a3a4d5e6f'
    const item = metaMessage({ from: BUSINESS, to: CUSTOMER, biz_opaque_callback_data: id })

    expect(
      onlyMessage(metaWebhook([metaChange({ message_echoes: [item] }, 'message_echoes')])),
    ).toMatchObject({
      source: 'echo',
      callback_id: id,
    })
  })
})

describe('the history', () => {
  test('tells by the number who wrote', () => {
    const messages = [metaMessage({ from: BUSINESS }), metaMessage({ from: CUSTOMER })]
    const facts = factsOf(historyWebhook(messages)).filter((fact) => fact.kind === 'message')

    expect(facts).toMatchObject([
      { direction: 'outbound', source: 'history', contact: { phone: CUSTOMER } },
      { direction: 'inbound', source: 'history', contact: { phone: CUSTOMER } },
    ])
  })

  test('tells it also by `to`, and by the thread where the own number is not shown', () => {
    const withTo = historyWebhook([metaMessage({ from: undefined, to: CUSTOMER })])
    const withoutNumber = historyWebhook([metaMessage({ from: BUSINESS })], {}, { metadata: {} })

    expect(onlyMessage(withTo)).toMatchObject({ direction: 'outbound', contact: { phone: CUSTOMER } })
    expect(onlyMessage(withoutNumber)).toMatchObject({ direction: 'outbound', contact: { phone: CUSTOMER } })
  })

  test('names the person by the thread, whatever form that has', () => {
    const ofBusiness = historyWebhook([metaMessage({ from: BUSINESS })], { id: USER_ID })
    const ofPerson = historyWebhook([metaMessage({ from: CUSTOMER })], { id: USER_ID })

    expect(onlyMessage(ofBusiness).contact).toEqual({ user_id: USER_ID })
    expect(onlyMessage(ofPerson).contact).toEqual({ user_id: USER_ID, phone: CUSTOMER })
  })

  test('names the contact of a thread by its id', () => {
    const body = historyWebhook([metaMessage({ from: BUSINESS })], {}, { contacts: [metaContact()] })

    expect(onlyMessage(body).contact).toEqual({ phone: CUSTOMER, name: 'Ada Example' })
  })

  test.each([
    ['SENT', 'sent'],
    ['DELIVERED', 'delivered'],
    ['READ', 'read'],
    ['PLAYED', 'played'],
    ['ERROR', 'failed'],
    ['PENDING', 'accepted'],
    ['read', 'read'],
    ['constructor', undefined],
    [undefined, undefined],
  ])('says of an own message that it is %s', (status, expected) => {
    const message = metaMessage({ from: BUSINESS, history_context: { status } })

    expect(onlyMessage(historyWebhook([message])).status).toBe(expected)
  })

  test('says of a received message no status of ours', () => {
    const message = metaMessage({ history_context: { status: 'READ' } })

    expect(onlyMessage(historyWebhook([message])).status).toBeUndefined()
  })

  test('announces media with a placeholder, and sends them later under the same id', () => {
    const placeholder = metaMessage({ id: 'wamid.M', type: 'media_placeholder' })
    const media = metaMessage({ id: 'wamid.M', type: 'image', image: IMAGE })
    const [first, second] = [
      historyWebhook([placeholder]),
      metaWebhook([metaChange({ messages: [media] }, 'history')]),
    ]

    expect(onlyMessage(first)).toMatchObject({ is_placeholder: true, wa_message_id: 'wamid.M' })
    expect(onlyMessage(second)).toMatchObject({
      is_placeholder: false,
      source: 'history',
      media: [{ id: IMAGE.id }],
    })
    expect(jobsOf(first)[0]?.job_id).toBe('history.wamid.M.media_placeholder')
    expect(jobsOf(second)[0]?.job_id).toBe('history.wamid.M.image')
  })

  test('of several chunks and threads gives every message once, and each chunk’s progress once', () => {
    const threads = ['15550000001', '15550000002'].map((id) => ({
      id,
      messages: [metaMessage({ from: id }), metaMessage({ from: BUSINESS })],
    }))
    const history = [0, 1].map((phase) => ({ metadata: { phase }, threads }))
    const events = eventsOf(metaWebhook([metaChange({ history }, 'history')]))

    expect(events.filter((event) => event.kind === 'history')).toHaveLength(8)
    expect(events.filter((event) => event.kind === 'other').map(payloadOf)).toEqual([
      { metadata: { phase: 0 } },
      { metadata: { phase: 1 } },
    ])
  })

  test('keeps what it does not know of a thread', () => {
    const events = eventsOf(historyWebhook([metaMessage()], { muted: true }))

    expect(payloadOf(events[1])).toMatchObject({ threads: [{ id: CUSTOMER, muted: true }] })
  })

  test.each([
    [[{ errors: [{ code: 2593109, title: 'History was not shared' }] }]],
    [[{ metadata: { phase: 2 }, threads: [] }]],
    [[{ metadata: { phase: 2 }, threads: [{ id: CUSTOMER, messages: [] }] }]],
    [[{ metadata: { phase: 2 }, threads: 'none' }]],
  ])('without messages is one event: %j', (history) => {
    const events = eventsOf(metaWebhook([metaChange({ history }, 'history')]))

    expect(events.map((event) => event.kind)).toEqual(['other'])
    expect(events[0]?.park).toBeUndefined()
    expect(payloadOf(events[0])).toMatchObject(history[0]!)
  })

  test('parks a chunk or a message that is no object, and reads the rest', () => {
    const history = [7, { threads: [null, { id: CUSTOMER, messages: ['x', metaMessage()] }] }]
    const events = eventsOf(metaWebhook([metaChange({ history }, 'history')]))

    expect(events.map(({ kind, park }) => [kind, park])).toEqual([
      ['other', 'history chunk is not an object'],
      ['history', 'history message is not an object'],
      ['history', undefined],
      ['other', undefined],
    ])
  })
})
