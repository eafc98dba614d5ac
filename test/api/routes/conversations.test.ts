import { beforeAll, describe, expect, test } from 'vitest'
import { type ApiApp, startApi } from '../api-app.ts'

let api: ApiApp

beforeAll(async () => {
  api = await startApi()
})

const NOWHERE = '999999999'

describe('GET /api/conversations', () => {
  test('lists all conversations page by page with next_cursor', async () => {
    for (let index = 0; index < 7; index++)
      await api.receive({ contact: { phone: String(15550004000 + index) } })
    const whole = await api.get('/conversations?limit=200')

    const seen = []
    let path: string | undefined = '/conversations?limit=3'
    while (path !== undefined) {
      const { body } = await api.get(path)
      seen.push(...body.items)
      path = body.next_cursor === null ? undefined : `/conversations?limit=3&cursor=${body.next_cursor}`
    }

    expect(whole.body.next_cursor).toBeNull()
    expect(whole.body.items.length).toBeGreaterThanOrEqual(7)
    expect(seen).toEqual(whole.body.items)
  })

  test('finds by q', async () => {
    const { conversation_id } = await api.receive({ contact: { phone: '15550004900', name: 'Zoë Findable' } })

    const { body } = await api.get(`/conversations?q=${encodeURIComponent('zoë find')}`)

    expect(body.items.map((item: { id: string }) => item.id)).toEqual([conversation_id])
  })

  test.each([
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['limit=ten', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['limit=1.5', 'limit'],
    ['cursor=x', 'cursor'],
    ['cursor=', 'cursor'],
    [`cursor=${Buffer.from('["2026-02-30T00:00:00.000000Z","1"]').toString('base64url')}`, 'cursor'],
    [
      `cursor=${Buffer.from('["2026-01-01T00:00:00.000000Z","99999999999999999999"]').toString('base64url')}`,
      'cursor',
    ],
    ['q=', 'q'],
    ['q=%00', 'q'],
    ['lmit=3', 'lmit'],
  ])('refuses ?%s', async (query, parameter) => {
    const response = await api.get(`/conversations?${query}`)

    expect(response.status).toBe(400)
    expect(response.headers['content-type']).toMatch('application/problem+json')
    expect(response.body.errors).toMatchObject([{ parameter, detail: expect.any(String) }])
  })
})

describe('GET /api/conversations/:id and its messages', () => {
  test('answer the conversation and its messages, newest first', async () => {
    const contact = { phone: '15550005000', name: 'Ada Example' }
    const first = await api.receive({ contact, content: 'one' })
    const second = await api.receive({ contact, content: 'two', reply_to_wa_message_id: first.wa_message_id })

    const conversation = await api.get(`/conversations/${first.conversation_id}`)
    const page1 = await api.get(`/conversations/${first.conversation_id}/messages?limit=1`)
    const page2 = await api.get(
      `/conversations/${first.conversation_id}/messages?limit=1&cursor=${page1.body.next_cursor}`,
    )

    expect(conversation.body).toMatchObject({ id: first.conversation_id, contact, unread_count: 2 })
    expect(page1.body.items).toMatchObject([{ id: second.id, content: 'two', reply_to: first.id }])
    expect(page2.body).toMatchObject({ items: [{ id: first.id, content: 'one' }], next_cursor: null })
  })

  test.each([NOWHERE, '0', '-1', 'x', '1.5', '9223372036854775808', '99999999999999999999999', "1'"])(
    'are 404 for %s',
    async (id) => {
      for (const path of [`/conversations/${id}`, `/conversations/${id}/messages`]) {
        const response = await api.get(path)
        expect(response.status, path).toBe(404)
        expect(response.headers['content-type'], path).toMatch('application/problem+json')
      }
    },
  )
})

describe('POST /api/conversations/:id/read', () => {
  test('marks messages up to the given one, and sends the provider one receipt', async () => {
    const contact = { phone: '15550006000' }
    const first = await api.receive({ contact })
    await api.receive({ contact })
    const path = `/conversations/${first.conversation_id}/read`
    const before = api.notifications.length

    const responses = [
      await api.post(path, { message_id: first.id }),
      await api.post(path, { message_id: first.id }),
      await api.post(path),
    ]

    expect(responses.map((response) => [response.status, response.body.unread_count])).toEqual([
      [200, 1],
      [200, 1],
      [200, 0],
    ])
    expect(api.notifications.slice(before)).toEqual(Array(2).fill({ receipt: first.conversation_id }))
    const { rows } = await api.database.pool.query('SELECT * FROM read_receipts WHERE conversation_id = $1', [
      first.conversation_id,
    ])
    expect(rows).toHaveLength(1)
  })

  test.each([
    ['a message of another conversation', 422, { message_id: '1' }],
    ['a message_id that is none', 400, { message_id: 7 }],
    ['a message_id that no row can have', 400, { message_id: '9223372036854775808' }],
    ['a member that is not known', 400, { up_to: '7' }],
    ['a list', 400, []],
  ])('refuses %s', async (_what, status, body) => {
    await api.receive({ contact: { phone: '15550006001' } })
    const { conversation_id } = await api.receive({ contact: { phone: '15550006002' } })

    const response = await api.post(`/conversations/${conversation_id}/read`, body)

    expect(response.status).toBe(status)
    expect(response.body.errors).toHaveLength(1)
  })

  test('is 404 for an unknown conversation', async () => {
    expect((await api.post(`/conversations/${NOWHERE}/read`)).status).toBe(404)
  })
})
