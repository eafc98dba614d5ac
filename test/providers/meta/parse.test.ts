import { describe, expect, test } from 'vitest'
import { EVENT_VERSION } from '../../../src/core/event.ts'
import { normalizeMeta } from '../../../src/providers/meta/normalize.ts'
import {
  META_ACCOUNT,
  META_PHONE_NUMBER_ID,
  metaChange,
  metaContact,
  metaMessage,
  metaMessagesWebhook,
  metaStatus,
  metaTextWebhook,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
import { eventsOf, factsOf, jobsOf, payloadOf, RECEIVED_AT } from './meta-facts.ts'

/** A body whose one message has this JSON in place of its `text`. */
const withText = (json: string) =>
  JSON.stringify(metaMessagesWebhook([metaMessage({ id: 'wamid.A', text: 'HERE' })])).replace('"HERE"', json)

const nested = (levels: number, innermost = '1') => '['.repeat(levels) + innermost + ']'.repeat(levels)

describe('a webhook', () => {
  test('gives one job for its message, under the message’s id', () => {
    const message = metaMessage({ id: 'wamid.A' })
    const contact = metaContact()

    expect(jobsOf(metaMessagesWebhook([message], [contact]))).toEqual([
      {
        job_id: 'wamid.A',
        event: {
          v: EVENT_VERSION,
          kind: 'message',
          provider: 'meta',
          received_at: RECEIVED_AT,
          wa_message_id: 'wamid.A',
          account: META_ACCOUNT,
          business_number: META_PHONE_NUMBER_ID,
          field: 'messages',
          context: JSON.stringify({
            metadata: { display_phone_number: '15550009999', phone_number_id: META_PHONE_NUMBER_ID },
            contact,
            list: 'messages',
          }),
          payload: JSON.stringify(message),
        },
      },
    ])
  })

  test('gives every item of every change of every entry', () => {
    const change = () => metaChange({ messages: [metaMessage(), metaMessage()], statuses: [metaStatus()] })
    const body = {
      object: 'whatsapp_business_account',
      entry: [
        { id: '1', changes: [change(), change()] },
        { id: '2', changes: [change()] },
      ],
    }
    const events = eventsOf(body)

    expect(events.map((event) => event.kind)).toEqual(Array(3).fill(['message', 'message', 'status']).flat())
    expect(events.map((event) => event.account)).toEqual([...Array(6).fill('1'), ...Array(3).fill('2')])
    expect(new Set(jobsOf(body).map((job) => job.job_id)).size).toBe(9)
  })

  test('about a conversation that Meta’s own agent handles is read like any other', () => {
    const value = {
      messages: [metaMessage()],
      message_echoes: [metaMessage({ from: '15550009999', to: '15551230001' })],
      statuses: [metaStatus()],
    }
    const events = eventsOf(metaWebhook([metaChange(value, 'standby')]))

    expect(events.map(({ kind, field }) => [kind, field])).toEqual([
      ['message', 'standby'],
      ['status', 'standby'],
      ['echo', 'standby'],
    ])
  })

  test('with errors beside its message gives both, each once', () => {
    const errors = [{ code: 131000, title: 'Unsupported webhook payload' }]
    const value = { messages: [metaMessage({ id: 'wamid.A', type: 'interactive' })], errors }
    const [message, error, ...more] = eventsOf(metaWebhook([metaChange(value)]))

    expect(more).toEqual([])
    expect(message).toMatchObject({ kind: 'message', wa_message_id: 'wamid.A' })
    expect(payloadOf(error)).toEqual({
      messaging_product: 'whatsapp',
      metadata: { display_phone_number: '15550009999', phone_number_id: META_PHONE_NUMBER_ID },
      errors,
    })
  })

  test.each([
    [{ messages: [] }],
    [{ messages: 'none' }],
    [{ messages: {} }],
    [{ statuses: null }],
    [{ history: 7, message_echoes: 'x' }],
  ])('with nothing in its lists is kept as one event: %j', (value) => {
    const [event, ...more] = eventsOf(metaWebhook([metaChange(value)]))

    expect(more).toEqual([])
    expect(event?.kind).toBe('other')
    expect(payloadOf(event)).toMatchObject(value)
  })

  test('keeps what nobody documented, beside what it knows', () => {
    const message = metaMessage({ id: 'wamid.A' })
    const change = { ...metaChange({ messages: [message], novelty: 1 }), sibling: 2 }
    const body = { ...metaWebhook([change], { id: '1', cousin: 3 }), aunt: 4 }

    const events = eventsOf(body)

    expect(events.map((event) => [event.kind, event.account])).toEqual([
      ['other', undefined],
      ['other', '1'],
      ['other', '1'],
      ['message', '1'],
      ['other', '1'],
    ])
    expect(events.map(payloadOf)).toEqual([
      { aunt: 4 },
      { cousin: 3 },
      { sibling: 2 },
      message,
      expect.objectContaining({ novelty: 1 }),
    ])
  })

  test('of another object is read all the same, and says whose it is', () => {
    const [event] = eventsOf({ ...metaWebhook([{ field: 'feed', value: { item: 'post' } }]), object: 'page' })

    expect(event).toMatchObject({ kind: 'other', field: 'feed' })
    expect(JSON.parse(event?.context ?? '')).toEqual({ object: 'page' })
  })

  test('with 1,000 updates takes no longer than it must', () => {
    const people = Array.from({ length: 1000 }, (_, index) => `1555${String(index).padStart(7, '0')}`)
    const messages = people.map((from) => metaMessage({ from }))
    const contacts = people.map((wa_id) => metaContact({ wa_id, name: `Person ${wa_id}` })).reverse()
    const body = Buffer.from(JSON.stringify(metaMessagesWebhook(messages, contacts)))
    jobsOf(body)

    const startedAt = performance.now()
    const facts = jobsOf(body).map((job) => normalizeMeta(job.event))
    const elapsedMs = performance.now() - startedAt

    const names = facts.map((fact) => fact.kind === 'message' && fact.contact.name)
    expect(names).toEqual(people.map((from) => `Person ${from}`))
    expect(elapsedMs).toBeLessThan(1000)
  })
})

describe('an id', () => {
  test.each([
    [undefined, 'message has no id'],
    [null, 'message has no id'],
    [12345, 'message has an id that is not a string'],
    [['wamid.A'], 'message has an id that is not a string'],
    ['', 'message has an empty id'],
    ['€'.repeat(171), 'message has an id longer than 512 bytes'],
    ['wamid.\u0000', 'message has an id with characters that PostgreSQL cannot store'],
    ['wamid.\ud800', 'message has an id with characters that PostgreSQL cannot store'],
  ])('that cannot be one parks its message under a hash: %j', (id, park) => {
    const [job] = jobsOf(metaMessagesWebhook([metaMessage({ id })]))

    expect(job?.event).toMatchObject({ kind: 'message', park })
    expect(job?.event.wa_message_id).toBeUndefined()
    expect(job?.job_id).toMatch(/^event\.[0-9a-f]{64}$/)
    expect(normalizeMeta(job!.event)).toEqual({ kind: 'parked', reason: park })
  })

  test('that would break the queue is hashed into the job id, and stored as it is', () => {
    for (const id of ['wait', 'meta', '12345', 'a:b:c', 'external_id', '🙂']) {
      const [job] = jobsOf(metaMessagesWebhook([metaMessage({ id })]))

      expect(job?.event.wa_message_id).toBe(id)
      expect(job?.job_id).toMatch(/^message\.[0-9a-f]{64}$/)
    }
  })

  test.each([null, 7, 'text', [], [{ id: 'wamid.A' }], true])('is not in %j, which is parked', (item) => {
    const [first, second] = eventsOf(metaWebhook([metaChange({ messages: [item, metaMessage()] })]))

    expect(first).toMatchObject({
      kind: 'message',
      payload: JSON.stringify(item),
      park: 'message is not an object',
    })
    expect(second?.park).toBeUndefined()
  })
})

describe('a body that is no webhook', () => {
  test.each<[string, Buffer, string]>([
    ['empty', Buffer.alloc(0), 'body is not JSON'],
    ['cut off', Buffer.from(metaTextWebhook({ id: 'wamid.A' }).slice(0, -5)), 'body is not JSON'],
    ['a form', Buffer.from('a=1&b=2'), 'body is not JSON'],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 'body is not valid UTF-8'],
    ['an array', Buffer.from('[{"entry":[]}]'), 'body is not a JSON object'],
    ['a number', Buffer.from('7'), 'body is not a JSON object'],
    ['a large number', Buffer.from('[12345678901234567890]').subarray(1, -1), 'body is not a JSON object'],
    ['null', Buffer.from('null'), 'body is not a JSON object'],
    ['an empty object', Buffer.from('{}'), 'body has no list of entries'],
    ['without entries', Buffer.from('{"object":"page","entry":{}}'), 'body has no list of entries'],
    ['with no entry', Buffer.from('{"object":"page","entry":[]}'), 'body holds no change'],
    [
      'of items without end',
      Buffer.from(`{"entry":[${'0,'.repeat(60_000)}0]}`),
      'body holds more than 50000 items',
    ],
    ['with no change', Buffer.from('{"entry":[{"id":"1","changes":[]}]}'), 'body holds no change'],
  ])('is kept as its bytes when it is %s', (_, bytes, reason) => {
    const [job, ...more] = jobsOf(bytes)

    expect(more).toEqual([])
    expect(job?.event).toMatchObject({ kind: 'unreadable', provider: 'meta', park: reason })
    expect(Buffer.from(job?.event.payload ?? '', 'base64').equals(bytes)).toBe(true)
    expect(job?.job_id).toMatch(/^event\.[0-9a-f]{64}$/)
    expect(normalizeMeta(job!.event)).toEqual({ kind: 'parked', reason })
  })

  test.each<[unknown, string]>([
    [{ entry: [7] }, 'entry is not an object'],
    [{ entry: [{ id: '1' }] }, 'entry has no list of changes'],
    [{ entry: [{ id: '1', changes: {} }] }, 'entry has no list of changes'],
    [{ entry: [{ id: '1', changes: [null] }] }, 'change is not an object'],
    [{ entry: [{ id: '1', changes: [{ field: 'messages' }] }] }, 'change has no value'],
  ])('is kept where only a part of it is wrong: %j', (body, park) => {
    expect(eventsOf(body)).toMatchObject([{ kind: 'other', park }])
  })

  test.each([[7], ['x'], [[]], [null], [false]])('keeps a value that is no object: %j', (value) => {
    const [event] = eventsOf(metaWebhook([{ field: 'novelty', value }]))

    expect(event).toMatchObject({ kind: 'other', field: 'novelty', payload: JSON.stringify(value) })
    expect(factsOf(metaWebhook([{ field: 'novelty', value }]))).toMatchObject([{ kind: 'other' }])
  })

  test('may begin with a byte order mark', () => {
    expect(eventsOf(`\uFEFF${metaTextWebhook({ id: 'wamid.A' })}`)).toMatchObject([{ kind: 'message' }])
  })
})

describe('hostile JSON', () => {
  test('keeps numbers that no double can hold', () => {
    const numbers = '{"body":"x","a":12345678901234567890,"b":0.1234567890123456789,"c":1e400}'
    const [event] = eventsOf(withText(numbers))

    expect(event?.payload).toContain(numbers)
    expect(normalizeMeta(event!)).toMatchObject({ kind: 'message', content: 'x' })
  })

  test('takes ids that came as large numbers', () => {
    const body = metaTextWebhook({ id: 'wamid.A' })
    const numeric = body.replace(`"${META_PHONE_NUMBER_ID}"`, '98765432109876543210')

    expect(eventsOf(numeric)).toMatchObject([{ business_number: '98765432109876543210' }])
  })

  test('cannot reach a prototype', () => {
    const [event, ...more] = eventsOf(
      withText('{"__proto__":{"body":"polluted"},"constructor":{"prototype":{"x":1}},"toJSON":1}'),
    )

    expect(more).toEqual([])
    expect(normalizeMeta(event!)).toMatchObject({ kind: 'message' })
    expect(normalizeMeta(event!)).not.toHaveProperty('content')
    expect(event?.payload).toContain('"__proto__":{"body":"polluted"}')
    expect(({} as Record<string, unknown>).body).toBeUndefined()
  })

  test('may have __proto__ and constructor among its own fields', () => {
    const body =
      '{"entry":[{"id":"1","changes":[{"field":"f","value":{"a":1},"__proto__":2,"constructor":3}]}]}'

    expect(eventsOf(body).map((event) => event.payload)).toEqual([
      '{"__proto__":2,"constructor":3}',
      '{"a":1}',
    ])
  })

  test('takes the last of two equal keys, as JSON.parse does', () => {
    const [event] = eventsOf(withText('{"body":"first","body":"last"}'))

    expect(normalizeMeta(event!)).toMatchObject({ content: 'last' })
  })

  test('keeps U+0000 and lone surrogates as escapes', () => {
    const [event] = eventsOf(withText(String.raw`{"body":"a\u0000b\ud800c"}`))

    expect(event?.payload).toContain(String.raw`a\u0000b\ud800c`)
    expect(normalizeMeta(event!)).toMatchObject({ content: 'a\u0000b\ud800c' })
  })

  test.each([600, 5000, 1_000_000])(
    'nested %i levels deep is kept as bytes, and its neighbours are read',
    (levels) => {
      const body = withText(nested(levels)).replace(
        '"messages":[',
        '"messages":[{"id":"wamid.B","type":"text"},',
      )
      const [neighbour, event] = eventsOf(body)

      expect(neighbour).toMatchObject({ kind: 'message', wa_message_id: 'wamid.B' })
      expect(event).toMatchObject({ kind: 'unreadable', park: 'message is nested deeper than 512 levels' })
      expect(
        Buffer.from(event?.payload ?? '', 'base64')
          .toString()
          .includes(nested(levels)),
      ).toBe(true)
    },
  )

  test('counts levels and not the brackets in a text', () => {
    const brackets = `\\"${'[{'.repeat(2000)}\\\\`

    expect(factsOf(withText(`{"body":"${brackets}"}`))).toMatchObject([{ kind: 'message' }])
  })

  test('nested less deeply is an ordinary message', () => {
    expect(factsOf(withText(nested(500)))).toMatchObject([{ kind: 'message' }])
  })

  test('may be nested deeply around the items', () => {
    const deep = nested(3000)
    const body = JSON.stringify(
      metaWebhook([
        metaChange({ metadata: 'HERE', contacts: ['HERE'], messages: [metaMessage()], x: 'HERE' }),
      ]),
    ).replaceAll('"HERE"', deep)

    const [message, rest] = eventsOf(body)

    expect(message).toMatchObject({ kind: 'message' })
    expect(rest).toMatchObject({ kind: 'unreadable' })
  })

  test('may hold a string of 3 MB', () => {
    const text = 'ä'.repeat(1_500_000)

    expect(factsOf(metaTextWebhook({ id: 'wamid.A', text }))).toMatchObject([
      { kind: 'message', content: text },
    ])
  })
})

describe('normalizeMeta', () => {
  const [event] = eventsOf(metaTextWebhook({ id: 'wamid.A' }))

  test.each([
    { payload: '{' },
    { payload: '7' },
    { payload: 'null' },
    { context: '{' },
    { kind: 'status' as const },
  ])('parks an event that it cannot understand: %j', (broken) => {
    expect(normalizeMeta({ ...event!, ...broken })).toMatchObject({ kind: 'parked' })
  })

  test('needs no context', () => {
    const { context: _context, ...bare } = event!

    expect(normalizeMeta(bare)).toMatchObject({ kind: 'message', contact: { phone: '15551230001' } })
    expect(normalizeMeta({ ...bare, context: '7' })).toMatchObject({ kind: 'message' })
  })
})
