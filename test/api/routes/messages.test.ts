import { beforeAll, describe, expect, test } from 'vitest'
import { claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { nowhere } from '../admin-app.ts'
import { type ApiApp, startApi } from '../api-app.ts'

let api: ApiApp

beforeAll(async () => {
  api = await startApi()
})

const TEXT = { to: '+1 (555) 123-0001', type: 'text', text: 'hello' }
let lastKey = 0
function key(value = `key-${++lastKey}`) {
  return { 'idempotency-key': value }
}

/** An object with this many levels. */
function nested(levels: number): object {
  let value = {}
  for (let level = 1; level < levels; level++) value = { value }
  return value
}

async function countRows(clientMessageId: string): Promise<number> {
  const { rows } = await api.database.pool.query('SELECT 1 FROM chat_messages WHERE client_message_id = $1', [
    clientMessageId,
  ])
  return rows.length
}

describe('POST /api/messages', () => {
  test('answers 201 with the stored message, which the list shows at once', async () => {
    const response = await api.post('/messages', TEXT, key('first'))

    expect(response.status).toBe(201)
    expect(response.body).toMatchObject({
      direction: 'outbound',
      provider: 'meta',
      business_number: META_PHONE_NUMBER_ID,
      wa_message_id: null,
      client_message_id: 'first',
      message_type: 'text',
      content: 'hello',
      status: 'queued',
      error: null,
      reply_to: null,
      contact: { phone: '15551230001' },
    })
    expect(response.headers.location).toBe(`/api/messages/${response.body.id}`)
    const list = await api.get(`/conversations/${response.body.conversation_id}/messages`)
    expect(list.body.items).toContainEqual(response.body)
    expect(api.notifications).toContainEqual({ send: response.body.id })
  })

  test('the same key fifty times at once is one message, one notification, one 201', async () => {
    const before = api.notifications.length

    const responses = await Promise.all(
      Array.from({ length: 50 }, () => api.post('/messages', TEXT, key('fifty'))),
    )

    const statuses = responses.map((response) => response.status).sort()
    expect(statuses).toEqual([...Array(49).fill(200), 201])
    expect(new Set(responses.map((response) => response.body.id)).size).toBe(1)
    expect(await countRows('fifty')).toBe(1)
    expect(api.notifications.length).toBe(before + 1)
  })

  test('the same key with another body is 422 and changes nothing', async () => {
    await api.post('/messages', TEXT, key('reused'))

    const response = await api.post('/messages', { ...TEXT, text: 'bye' }, key('reused'))

    expect(response).toMatchObject({ status: 422, body: { reason: 'idempotency_key_reused', status: 422 } })
    expect(await countRows('reused')).toBe(1)
  })

  test('the same request in another spelling is the same request', async () => {
    await api.post('/messages', TEXT, key('spelt'))

    const response = await api.post(
      '/messages',
      { text: 'hello', type: 'text', to: { phone: '15551230001' } },
      key('"spelt"'),
    )

    expect(response.status).toBe(200)
  })

  test('without a key every request creates a message', async () => {
    const [first, second] = [await api.post('/messages', TEXT), await api.post('/messages', TEXT)]

    expect([first.status, second.status]).toEqual([201, 201])
    expect(first.body.id).not.toBe(second.body.id)
    expect(first.body.client_message_id).toMatch(/^[0-9a-f-]{36}$/)
  })

  test.each([
    ['', 'empty'],
    [' ', 'blank'],
    ['a b', 'with a space'],
    ['"a', 'with half its quotes'],
    ['x'.repeat(256), 'too long'],
  ])('refuses the key %j', async (value) => {
    const response = await api.post('/messages', TEXT, key(value))

    expect(response.status).toBe(400)
    expect(response.body.errors).toMatchObject([{ header: 'idempotency-key' }])
  })

  test('a reply or reaction to a conversation is sent from the number of that conversation', async () => {
    const contact = { phone: '15551230002' }
    const asked = await api.receive({ contact, business_number: '4711', content: 'A question' })
    const where = { conversation_id: asked.conversation_id }

    const answer = await api.post('/messages', { ...where, type: 'text', text: 'yes', reply_to: asked.id })
    const reaction = await api.post('/messages', {
      ...where,
      type: 'reaction',
      reaction: { message_id: asked.id, emoji: '👍' },
    })

    expect(answer.body).toMatchObject({ ...where, business_number: '4711', reply_to: asked.id })
    expect(reaction.body).toMatchObject({ message_type: 'reaction', target: asked.id, content: '👍' })
    const { body } = await api.get(`/messages/${asked.id}`)
    expect(body.reactions).toMatchObject([{ emoji: '👍', direction: 'outbound', status: 'queued' }])
  })

  test.each([
    [{ to: 'US.1349', type: 'text', text: 'hi' }, { contact: { user_id: 'US.1349', phone: null } }],
    [
      { to: TEXT.to, type: 'image', media: { url: 'https://example.com/a.png', caption: 'Look' } },
      { message_type: 'image', content: 'Look', media: [{ url: 'https://example.com/a.png', id: null }] },
    ],
    [
      { to: TEXT.to, type: 'document', media: { id: '123', filename: 'a.pdf' } },
      { message_type: 'document', content: null, media: [{ id: '123', filename: 'a.pdf' }] },
    ],
    [
      { to: TEXT.to, type: 'template', template: { name: 'welcome', language: 'en_US' } },
      { message_type: 'template', content: 'welcome' },
    ],
    [
      {
        to: TEXT.to,
        type: 'template',
        template: { name: 'carousel', language: 'en', components: [nested(30)] },
      },
      { message_type: 'template' },
    ],
  ])('takes %j', async (body, expected) => {
    const response = await api.post('/messages', body)

    expect(response.status, response.text).toBe(201)
    expect(response.body).toMatchObject(expected)
  })

  test('lists all errors at once', async () => {
    const response = await api.post(
      '/messages?dry=1',
      { type: 'text', text: '', reply_to: 'x', size: 3 },
      key(''),
    )

    expect(response.status).toBe(400)
    expect(response.body).toMatchObject({ type: 'about:blank', title: 'Bad Request', status: 400 })
    expect(response.body.errors.map(({ detail: _, ...where }: { detail: string }) => where)).toEqual([
      { parameter: 'dry' },
      { header: 'idempotency-key' },
      { pointer: '#/reply_to' },
      { pointer: '#/text' },
      { pointer: '#/size' },
      { pointer: '#/to' },
    ])
  })

  test.each([
    ['no type', { to: TEXT.to, text: 'x' }, '#/type'],
    ['no address', { type: 'text', text: 'x' }, '#/to'],
    ['two addresses', { ...TEXT, conversation_id: '1' }, '#/to'],
    ['an address that is nobody', { ...TEXT, to: 'Ada' }, '#/to'],
    ['an address with two names', { ...TEXT, to: { phone: '15551230001', user_id: 'US.1' } }, '#/to'],
    ['an unknown type', { ...TEXT, type: 'hologram' }, '#/type'],
    ['too long a text', { ...TEXT, text: 'x'.repeat(4097) }, '#/text'],
    ['U+0000', { ...TEXT, text: 'a\u0000b' }, '#/text'],
    ['half a character', { ...TEXT, text: 'a\ud800b' }, '#/text'],
    ['media from nowhere', { to: TEXT.to, type: 'image', media: {} }, '#/media'],
    [
      'media from a file',
      { to: TEXT.to, type: 'image', media: { url: 'file:///etc/passwd' } },
      '#/media/url',
    ],
    [
      'U+0000 in a URL',
      { to: TEXT.to, type: 'image', media: { url: 'https://example.com/\0' } },
      '#/media/url',
    ],
    ['an id that no row can have', { ...TEXT, reply_to: '9223372036854775808' }, '#/reply_to'],
    [
      'a template nested without end',
      { to: TEXT.to, type: 'template', template: { name: 'x', language: 'en', components: [nested(1_000)] } },
      '#/template/components',
    ],
    ['a template of nobody', { to: TEXT.to, type: 'template', template: {} }, '#/template'],
    ['an unknown provider', { ...TEXT, provider: 'pigeon' }, '#/provider'],
  ])('refuses %s and says where', async (_what, body, pointer) => {
    const response = await api.post('/messages', body)

    expect(response.status).toBe(400)
    expect(response.body.errors).toMatchObject([{ pointer, detail: expect.stringMatching(/./) }])
  })

  test.each([
    ['conversation_not_found', { conversation_id: '999999999', type: 'text', text: 'x' }],
    ['no_sender', { to: '15551239999', provider: 'twilio', type: 'text', text: 'x' }],
    ['reply_not_found', { ...TEXT, reply_to: '999999999' }],
    [
      'reaction_target_not_found',
      { to: TEXT.to, type: 'reaction', reaction: { message_id: '9999999', emoji: '👍' } },
    ],
  ])('says %s where nothing can be sent', async (reason, body) => {
    const response = await api.post('/messages', body)

    expect(response).toMatchObject({
      status: 422,
      body: { reason, errors: [{ pointer: expect.any(String) }] },
    })
  })

  test('names the setting that is missing where only a provider without credentials would fit', async () => {
    const { post } = await startApi({
      findMissingCredential: (provider) => (provider === 'meta' ? 'META_ACCESS_TOKEN' : undefined),
    })

    expect(await post('/messages', TEXT)).toMatchObject({
      status: 422,
      body: {
        reason: 'provider_not_configured',
        detail: expect.stringContaining('set META_ACCESS_TOKEN'),
        errors: [{ pointer: '#/provider' }],
      },
    })
  })

  test('a text has as many characters as its provider takes, and an emoji is one', async () => {
    const contact = { phone: '15551230016' }
    const asked = await api.receive({ contact, provider: 'twilio', business_number: '15550001234' })
    const viaTwilio = { conversation_id: asked.conversation_id, type: 'text' }

    const tooLong = await api.post('/messages', { ...viaTwilio, text: 'x'.repeat(1601) })

    expect(tooLong).toMatchObject({
      status: 422,
      body: {
        reason: 'text_too_long',
        detail: expect.stringContaining('1600'),
        errors: [{ pointer: '#/text' }],
      },
    })
    expect((await api.post('/messages', { ...viaTwilio, text: '😀'.repeat(1600) })).status).toBe(201)
    expect((await api.post('/messages', { ...TEXT, text: '😀'.repeat(4096) })).status).toBe(201)
    expect((await api.post('/messages', { ...TEXT, text: '😀'.repeat(4097) })).body.errors).toEqual([
      { pointer: '#/text', detail: expect.stringContaining('4096') },
    ])
    const { components } = (await api.get('/openapi.json')).body
    expect(components.schemas.NewMessage.oneOf[0].properties.text).toMatchObject({
      minLength: 1,
      maxLength: 4096,
    })
  })

  test('numbers in the components of a template keep their digits until they are sent, and when they are sent again', async () => {
    const digits = '12345678901234567890.10'
    const post = (n: string) =>
      api.get('/messages', {
        method: 'POST',
        headers: { ...key('digits'), 'content-type': 'application/json' },
        body: `{"to":"15551230017","type":"template","template":{"name":"x","language":"en","components":[{"n":[${n}]}]}}`,
      })
    const { id } = (await post(digits)).body
    const sentAs = async (messageId: string) => {
      const outcome = await claimNext(api.database.db, messageId)
      if (outcome.kind !== 'claimed') throw new Error(outcome.kind)
      const { claim } = outcome
      await recordSendResult(api.database.db, claim, { kind: 'failed', error: { code: 1, message: 'x' } }, '')
      return JSON.stringify(claim.message.content)
    }

    expect(await sentAs(id)).toContain(`"components":[{"n":[${digits}]}]`)
    const resent = await api.post(`/messages/${id}/resend`, {})
    expect(await sentAs(resent.body.id)).toContain(`[{"n":[${digits}]}]`)
    expect((await post(digits)).status).toBe(200)
    expect((await post('12345678901234567890.2')).status).toBe(422)
  })

  test('a form, and JSON that claims to be text, are refused', async () => {
    for (const type of ['application/x-www-form-urlencoded', 'text/plain']) {
      const response = await api.post('/messages', JSON.stringify(TEXT), { 'content-type': type })
      expect(response.status, type).toBe(415)
    }
  })

  test('a body that is no JSON is 400, and one over 1 MB is 413', async () => {
    const json = { 'content-type': 'application/json' }

    expect((await api.post('/messages', '{"to":', json)).status).toBe(400)
    expect((await api.post('/messages', { ...TEXT, text: 'x'.repeat(1024 * 1024) })).status).toBe(413)
  })
})

describe('GET /api/messages/:id', () => {
  test("answers the message with its history and the provider's object", async () => {
    const { id } = await api.receive({ contact: { phone: '15551230003' }, content: 'Hi' })

    const { status, body } = await api.get(`/messages/${id}`)

    expect(status).toBe(200)
    expect(body).toMatchObject({ id, content: 'Hi', statuses: [], payload: { type: 'text' } })
  })

  test.each(['999999999', '0', 'x', '9223372036854775808', '99999999999999999999'])(
    'is 404 for %s',
    async (id) => {
      expect((await api.get(`/messages/${id}`)).status).toBe(404)
    },
  )
})

describe('POST /api/messages/:id/resend', () => {
  async function sendUnknown(): Promise<string> {
    const { body } = await api.post('/messages', TEXT)
    await api.database.pool.query(`UPDATE chat_messages SET status = 'unknown' WHERE id = $1`, [body.id])
    return body.id
  }

  test('sends the message again once, as a new message', async () => {
    const id = await sendUnknown()

    const responses = await Promise.all(Array.from({ length: 5 }, () => api.post(`/messages/${id}/resend`)))

    expect(responses.map((response) => response.status).sort()).toEqual([200, 200, 200, 200, 201])
    const [first] = responses
    expect(new Set(responses.map((response) => response.body.id)).size).toBe(1)
    expect(first?.body).toMatchObject({ resend_of: id, status: 'queued', content: TEXT.text })
    expect(api.notifications).toContainEqual({ send: first?.body.id })
    expect((await api.get(`/messages/${id}`)).body).toMatchObject({
      status: 'unknown',
      resent_as: first?.body.id,
    })
  })

  test('refuses a message that is being sent, an inbound one and an unknown one', async () => {
    const { body } = await api.post('/messages', TEXT)
    const received = await api.receive()

    const responses = await Promise.all(
      [body.id, received.id, '999999999'].map((id) => api.post(`/messages/${id}/resend`)),
    )

    expect(responses.map((response) => [response.status, response.body.reason])).toEqual([
      [409, 'not_resendable'],
      [409, 'not_resendable'],
      [404, 'message_not_found'],
    ])
  })
})

test('every route answers 503 with the reason while the database is away', async () => {
  const away = await startApi({ db: nowhere() })

  const responses = await Promise.all([
    away.get('/conversations'),
    away.get('/messages/1'),
    away.get('/changes'),
    away.get('/stream'),
    away.post('/messages', TEXT),
  ])

  for (const response of responses) {
    expect(response).toMatchObject({ status: 503, headers: { 'retry-after': '5' } })
    expect(response.text).not.toContain('ECONNREFUSED')
  }
})
