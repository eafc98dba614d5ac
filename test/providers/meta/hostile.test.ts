/** Bodies that are signed, and try to make two things one, or one thing vanish. */
import { describe, expect, test } from 'vitest'
import { normalizeMeta } from '../../../src/providers/meta/normalize.ts'
import {
  META_CUSTOMER_PHONE,
  metaChange,
  metaContact,
  metaMessage,
  metaMessagesWebhook,
  metaStatus,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { eventsOf, factsOf, jobsOf, messageFactOf, RECEIVED_AT } from './meta-facts.ts'

const textOf = (body: unknown) => JSON.stringify(body)
const bytesOf = (payload: string) => Buffer.from(payload, 'base64').toString()

describe('an object with a key twice', () => {
  const [a, b] = [metaMessage({ id: 'wamid.A' }), metaMessage({ id: 'wamid.B' })]

  test('two lists of messages: one is read, and the bytes keep the other', () => {
    const text = textOf(metaMessagesWebhook([b])).replace(
      '"messages":',
      `"messages":${textOf([a])},"messages":`,
    )

    const events = eventsOf(text)

    expect(events).toMatchObject([
      { kind: 'message', wa_message_id: 'wamid.B' },
      { kind: 'unreadable', park: expect.stringContaining('a key twice') },
    ])
    expect(bytesOf(events[1]?.payload ?? '')).toBe(text)
  })

  test('a message with two ids: a message under the last one, and the bytes', () => {
    const text = textOf(metaMessagesWebhook([a])).replace('"id":"wamid.A"', '"id":"wamid.A","id":"wamid.B"')

    expect(eventsOf(text).map(({ kind, wa_message_id }) => [kind, wa_message_id])).toEqual([
      ['message', 'wamid.B'],
      ['unreadable', undefined],
    ])
  })

  test('redelivered it is the same jobs', () => {
    const text = textOf(metaMessagesWebhook([a])).replace('"type":', '"type":"x","type":')

    expect(jobsOf(text).map((job) => job.job_id)).toEqual(jobsOf(text).map((job) => job.job_id))
  })
})

describe('a status', () => {
  const parked = (fields: Record<string, unknown>) =>
    eventsOf(metaWebhook([metaChange({ statuses: [metaStatus({ id: 'wamid.A', ...fields })] })]))[0]?.park
  const group = { recipient_type: 'group', recipient_id: 'g' }

  test.each([
    [{ status: 'read\u0000' }, 'status has a word with characters that PostgreSQL cannot store'],
    [{ status: '\ud800' }, 'status has a word with characters that PostgreSQL cannot store'],
    [{ status: 'x'.repeat(129) }, 'status has a word longer than 128 bytes'],
    [
      { ...group, recipient_participant_id: 'a\u0000' },
      'status has a participant with characters that PostgreSQL cannot store',
    ],
    [
      { ...group, recipient_participant_id: 'x'.repeat(513) },
      'status has a participant longer than 512 bytes',
    ],
  ])('that could meet another one when it is stored is parked: %j', (fields, reason) => {
    expect(parked(fields)).toBe(reason)
  })

  test('of any harmless word and participant is recorded', () => {
    expect(parked({ status: 'x'.repeat(128) })).toBeUndefined()
    expect(parked({ status: 'in orbit \ud83d\ude80' })).toBeUndefined()
    expect(parked({ ...group, recipient_participant_id: 'x'.repeat(512) })).toBeUndefined()
  })

  test('whose words differ in lone surrogates only is two jobs', () => {
    const statuses = ['a\ud800', 'a\ud801'].map((status) => metaStatus({ id: 'wamid.A', status }))

    const ids = jobsOf(metaWebhook([metaChange({ statuses })])).map((job) => job.job_id)

    expect(new Set(ids).size).toBe(2)
  })
})

test('U+0000 beside an item reaches no text of the job, because the queue may keep jobs in jsonb', () => {
  const value = { messages: [metaMessage()], metadata: { phone_number_id: '1\u00002' } }
  const body = metaWebhook([metaChange(value, 'mess\u0000ages')], { id: 'waba\u0000' })

  const [job] = jobsOf(body)

  expect(JSON.stringify({ ...job?.event, context: '', payload: '' })).not.toContain('\\u0000')
  expect(job?.event).toMatchObject({
    account: 'waba\ufffd',
    business_number: '1\ufffd2',
    field: 'mess\ufffdages',
  })
})

test('events that differ in a lone surrogate of their account only are two', () => {
  const ids = ['waba\ud800', 'waba\ud801'].map(
    (id) => jobsOf(metaWebhook([{ field: 'security', value: { event: 'PIN_CHANGED' } }], { id }))[0]?.job_id,
  )

  expect(ids[0]).not.toBe(ids[1])
})

test.each([{ mystery: 1 }, { profile: { mystery: 1 } }, { id: 'wamid.B', status: 'read' }])(
  'an entry of contacts that tells nothing of anybody (%j) is kept beside the message',
  (entry) => {
    const events = eventsOf(metaMessagesWebhook([metaMessage({ id: 'wamid.A' })], [entry]))

    expect(events.map(({ kind }) => kind)).toEqual(['message', 'other'])
    expect(JSON.parse(events[1]?.payload ?? '').contacts).toEqual([entry])
  },
)

describe('an entry of contacts that is guessed to be the sender', () => {
  const profile = { name: 'Ada Example' }
  const kept = (message: Record<string, unknown>, entry: Record<string, unknown>) => {
    const events = eventsOf(metaMessagesWebhook([metaMessage(message)], [entry]))
    return events.filter(({ kind }) => kind === 'other').map(({ payload }) => JSON.parse(payload).contacts)
  }

  test.each<Record<string, unknown>>([
    { profile, mystery: 1 },
    { profile: { ...profile, mystery: 1 } },
    { profile, wa_id: { mystery: 1 } },
    { profile, user_id: ['mystery'] },
    { profile: { ...profile, username: 7 } },
    { profile, from: META_CUSTOMER_PHONE, id: 'wamid.B', text: { body: 'a message astray' } },
  ])('lends its name, and is kept for what else it says: %j', (entry) => {
    expect(messageFactOf(metaMessage(), [entry]).contact).toEqual({
      phone: META_CUSTOMER_PHONE,
      name: 'Ada Example',
    })
    expect(kept({}, entry)).toEqual([[entry]])
  })

  test('is kept also where its id is too long to be one', () => {
    const entry = { profile, wa_id: 'x'.repeat(300) }

    expect(kept({}, entry)).toEqual([[entry]])
  })

  test('is kept also where it names somebody and the message nobody', () => {
    const entry = metaContact({ mystery: 1 })

    expect(messageFactOf(metaMessage({ from: undefined }), [entry]).contact.phone).toBe(META_CUSTOMER_PHONE)
    expect(kept({ from: undefined }, entry)).toEqual([[entry]])
  })

  test.each<[Record<string, unknown>, Record<string, unknown>]>([
    [{}, { profile, wa_id: null, user_id: '' }],
    [{}, { profile: { ...profile, username: 'ada' }, identity_key_hash: 'hash' }],
    [{ from: undefined }, metaContact({ user_id: 'US.1', identity_key_hash: 'hash' })],
  ])('is no event where it says no more: %j %j', (message, entry) => {
    expect(kept(message, entry)).toEqual([])
  })
})

describe('what stands beside the items', () => {
  const beside = { a: null, b: [], c: {}, contacts: null, errors: [] }
  const webhook = (fields: Record<string, unknown>) => ({
    object: 'whatsapp_business_account',
    entry: [
      {
        id: '1',
        changes: [{ field: 'messages', value: { messages: [metaMessage()], ...fields }, ...fields }],
        ...fields,
      },
    ],
    ...fields,
  })

  test('is no event where it is null or empty', () => {
    expect(eventsOf(webhook(beside)).map(({ kind }) => kind)).toEqual(['message'])
  })

  test.each([false, 0, '', [null], { a: null }])('is kept where it is %j', (value) => {
    const events = eventsOf(webhook({ ...beside, mystery: value }))

    expect(events.map(({ kind }) => kind)).toEqual(['other', 'other', 'other', 'message', 'other'])
    for (const { kind, payload } of events)
      if (kind === 'other') expect(JSON.parse(payload).mystery).toEqual(value)
  })

  test('is kept where the product or the metadata is something that nobody reads', () => {
    for (const odd of [{ messaging_product: { a: 1 } }, { metadata: 'gone' }])
      expect(
        eventsOf(metaWebhook([metaChange({ messages: [metaMessage()], ...odd })])).at(-1)?.payload,
      ).toContain(JSON.stringify(odd).slice(1, -1))
  })
})

describe('a change of number', () => {
  const changeAt = (timestamp: unknown) => {
    const system = { type: 'user_changed_number', wa_id: '15551230002', body: 'x' }
    const message = metaMessage({ id: 'wamid.A', type: 'system', from: '15551230001', system, timestamp })
    const [fact] = factsOf(metaMessagesWebhook([message]))
    return fact?.kind === 'message' ? fact.identity?.changed_at.getTime() : 'no message'
  }
  const seconds = (ms: number) => String(Math.floor(ms / 1000))

  test('happened at the time that Meta tells, also where our clock is a little behind', () => {
    expect(changeAt('1760000000')).toBe(1_760_000_000_000)
    expect(changeAt(seconds(RECEIVED_AT + 60_000))).toBe(RECEIVED_AT + 60_000)
  })

  test.each([undefined, 'yesterday', '', seconds(RECEIVED_AT + 86_400_000), '99999999999'])(
    'without a time that can be true (%j) is a message only: each redelivery would be another change',
    (timestamp) => {
      expect(changeAt(timestamp)).toBeUndefined()
    },
  )
})

test('an interactive message without type reads the same in the order of keys that jsonb keeps', () => {
  const interactive = { list_reply: { title: 'Tuesday' }, button_reply: { title: 'Yes' } }
  const reordered = { button_reply: { title: 'Yes' }, list_reply: { title: 'Tuesday' } }
  const [one, other] = [interactive, reordered].map(
    (body) =>
      factsOf(
        metaMessagesWebhook([metaMessage({ id: 'wamid.A', type: 'interactive', interactive: body })]),
      )[0],
  )

  expect(one).toEqual(other)
})

test('a thousand items with a few bad ones: each its own event, the bad ones parked', () => {
  const bad = [null, 7, 'x', [], {}, { id: 5 }, { id: '' }, { id: 'x'.repeat(600) }, { id: 'a\u0000' }]
  const items = Array.from({ length: 1_000 }, (_, i) =>
    i % 100 === 50 && i / 100 < bad.length ? bad[(i - 50) / 100] : metaMessage(),
  )

  const facts = eventsOf(metaMessagesWebhook(items as Record<string, unknown>[])).map(normalizeMeta)

  expect(facts.filter(({ kind }) => kind === 'parked')).toHaveLength(bad.length)
  expect(facts.filter(({ kind }) => kind === 'message')).toHaveLength(1_000 - bad.length)
})
