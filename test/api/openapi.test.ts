import { beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createApiRouter } from '../../src/api/api-router.ts'
import { PROVIDERS } from '../../src/providers/index.ts'
import { openEventStream } from '../support/event-stream.ts'
import { nowhere, withApiToken } from './admin-app.ts'
import { type ApiApp, type ApiResponse, startApi } from './api-app.ts'

type Json = Record<string, unknown>
type Operation = Json & {
  operationId: string
  parameters: { name: string; in: string }[]
  responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>
}
type Document = {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Json> }
}

let api: ApiApp
let document: Document

beforeAll(async () => {
  api = await startApi()
  document = (await api.get('/openapi.json')).body
})

function operations(): { path: string; method: string; operation: Operation }[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )
}

describe('the OpenAPI document', () => {
  test('has every route of the server, and no other', () => {
    const { router } = createApiRouter({
      db: nowhere(),
      stats: () => Promise.reject(new Error('not asked')),
      providers: PROVIDERS,
      defaultNumbers: {},
      findMissingCredential: () => undefined,
      uploadFolder: '/nowhere',
      refuseUpload: () => undefined,
      notifySend: () => {},
      notifyReceipt: () => {},
      signal: new AbortController().signal,
      log: { warn: () => {} },
    })
    const served = router.stack.flatMap(({ route }) =>
      (route?.stack ?? []).flatMap(({ method }) => (route && method ? [`${method} /api${route.path}`] : [])),
    )

    const documented = operations().map(
      ({ path, method }) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`,
    )
    expect([...new Set(served)].sort()).toEqual(documented.sort())
    expect(documented.length).toBeGreaterThan(10)
  })

  test('is complete: references resolve, ids are unique, parameters of the path are described', () => {
    const text = JSON.stringify(document)
    const refs = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref)
    const ids = operations().map(({ operation }) => operation.operationId)

    expect(document.openapi).toBe('3.1.0')
    expect(refs.length).toBeGreaterThan(20)
    for (const ref of new Set(refs)) {
      const name = ref.replace('#/components/schemas/', '')
      expect(document.components.schemas, ref).toHaveProperty([name])
      expect(document.components.schemas[name], ref).not.toEqual({ $ref: ref })
    }
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, operation } of operations()) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      expect(operation.parameters.filter((item) => item.in === 'path').map((item) => item.name)).toEqual(
        inPath,
      )
    }
  })

  test('requires the members of answers, and allows further ones', () => {
    expect(document.components.schemas.Message?.required).toContain('wa_message_id')
    expect(document.components.schemas.Message).not.toHaveProperty('additionalProperties')
    expect(JSON.stringify(document.components.schemas.NewMessage)).toContain('"additionalProperties":false')
  })
})

/** A request for each documented answer. */
type Scenario = [operationId: string, status: number, ask: (ids: Ids) => Promise<ApiResponse>]
type Ids = { message: string; conversation: string; unknown: string }

const NOWHERE = '999999999'
const TEXT = { to: '+15551230001', type: 'text', text: 'hello' }
const key = (value: string) => ({ 'idempotency-key': value })

const SCENARIOS: Scenario[] = [
  ['listConversations', 200, () => api.get('/conversations')],
  ['listConversations', 400, () => api.get('/conversations?limit=0')],
  ['getConversation', 200, ({ conversation }) => api.get(`/conversations/${conversation}`)],
  ['getConversation', 404, () => api.get(`/conversations/${NOWHERE}`)],
  ['listMessages', 200, ({ conversation }) => api.get(`/conversations/${conversation}/messages`)],
  ['listMessages', 404, () => api.get(`/conversations/${NOWHERE}/messages`)],
  ['markAsRead', 200, ({ conversation }) => api.post(`/conversations/${conversation}/read`)],
  ['markAsRead', 404, () => api.post(`/conversations/${NOWHERE}/read`, {})],
  [
    'markAsRead',
    422,
    ({ conversation }) => api.post(`/conversations/${conversation}/read`, { message_id: NOWHERE }),
  ],
  ['sendMessage', 201, () => api.post('/messages', TEXT, key('openapi'))],
  ['sendMessage', 200, () => api.post('/messages', TEXT, key('openapi'))],
  ['sendMessage', 400, () => api.post('/messages', {})],
  ['sendMessage', 413, () => api.post('/messages', { ...TEXT, text: 'x'.repeat(1024 * 1024) })],
  [
    'sendMessage',
    415,
    () => api.post('/messages', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }),
  ],
  ['sendMessage', 422, () => api.post('/messages', { ...TEXT, text: 'other' }, key('openapi'))],
  ['uploadMedia', 201, () => api.post('/media', 'a file', { 'content-type': 'text/plain' })],
  ['uploadMedia', 200, () => api.post('/media', 'a file', { 'content-type': 'text/plain' })],
  ['getMessage', 200, ({ message }) => api.get(`/messages/${message}`)],
  ['getMessage', 404, () => api.get(`/messages/${NOWHERE}`)],
  ['resendMessage', 201, ({ unknown }) => api.post(`/messages/${unknown}/resend`, undefined, key('resend'))],
  ['resendMessage', 200, ({ unknown }) => api.post(`/messages/${unknown}/resend`, undefined, key('resend'))],
  ['resendMessage', 404, () => api.post(`/messages/${NOWHERE}/resend`)],
  ['resendMessage', 409, ({ message }) => api.post(`/messages/${message}/resend`)],
  ['resendMessage', 422, ({ unknown }) => api.post(`/messages/${unknown}/resend`, undefined, key('openapi'))],
  ['listChanges', 200, () => api.get('/changes')],
  ['listChanges', 400, () => api.get('/changes?after=x')],
  ['listChanges', 410, () => api.get('/changes?after=99999999999.1')],
  ['streamChanges', 200, askStream],
  ['streamChanges', 400, () => api.get('/stream?after=x')],
  ['streamChanges', 410, () => api.get('/stream?after=99999999999.1')],
  ['getStats', 200, () => api.get('/stats')],
  ['getOpenApiDocument', 200, () => api.get('/openapi.json')],
]

async function askStream(): Promise<ApiResponse> {
  const stream = await openEventStream(`${api.url}/api/stream`, withApiToken)
  await stream.waitForChanges(1)
  stream.close()
  return { status: stream.status, headers: stream.headers, text: stream.text, body: stream.text }
}

/**
 * Messages of every kind: a reaction, an edit, media, a reply, a group message, an outbound one with status `unknown`.
 */
async function fill(): Promise<Ids> {
  const contact = { phone: '15551230009', name: 'Ada Example', username: 'ada', user_id: 'US.9' }
  const first = await api.receive({
    contact,
    referral: '{"source_id":"1"}',
    media: [{ id: '1', url: 'https://a.example' }],
  })
  const target_wa_message_id = first.wa_message_id
  await api.receive({ contact, message_type: 'reaction', content: '👍', target_wa_message_id })
  await api.receive({ contact, message_type: 'edit', content: 'edited', target_wa_message_id })
  await api.receive({ contact, reply_to_wa_message_id: first.wa_message_id, error: '[{"code":131051}]' })
  await api.receive({ contact: { group_id: 'g' }, sender: contact })
  const sent = await api.post('/messages', { ...TEXT, conversation_id: first.conversation_id, to: undefined })
  const unknown = await api.post('/messages', TEXT)
  await api.database.pool.query(
    `UPDATE chat_messages SET status = 'unknown', error = '[{"code":1,"message":"x"}]' WHERE id = $1`,
    [unknown.body.id],
  )
  await api.database.pool.query(`
    INSERT INTO message_statuses (wa_message_id, status, provider, business_number, received_at)
    VALUES ('${first.wa_message_id}', 'read', 'meta', '1', now())`)
  return { message: first.id, conversation: sent.body.conversation_id, unknown: unknown.body.id }
}

test('every route answers as documented: status, content type and body', async () => {
  const ids = await fill()

  for (const [operationId, status, ask] of SCENARIOS) {
    const response = await ask(ids)
    const what = `${operationId} ${status}: ${response.text.slice(0, 500)}`
    expect(response.status, what).toBe(status)
    const content = responseOf(operationId, status).content ?? {}
    const type = response.headers['content-type']?.split(';')[0] ?? ''
    expect(Object.keys(content), what).toEqual([type])
    const result = schemaOf(content[type]?.schema ?? {}).safeParse(response.body)
    expect(result.error?.issues ?? [], what).toEqual([])
  }
})

test('every documented answer has a request here, except those that every route has', () => {
  // 507: test/api/receive-file.test.ts.
  const common = new Set(['400', '401', '403', '413', '415', '429', '503', '507'])
  const documented = operations().flatMap(({ operation }) =>
    Object.keys(operation.responses)
      .filter((status) => !common.has(status))
      .map((status) => `${operation.operationId} ${status}`),
  )

  const asked = SCENARIOS.map(([operationId, status]) => `${operationId} ${status}`)
  expect(documented.filter((answer) => !asked.includes(answer))).toEqual([])
})

test('the errors that every route has are problems as documented', async () => {
  const away = await startApi({ db: nowhere(), stats: () => Promise.reject(new Error('away')) })
  const problem = schemaOf({ $ref: '#/components/schemas/Problem' })
  const foreign = {
    origin: 'https://evil.example',
    authorization: 'Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==',
  }

  for (const [status, response] of [
    [401, await api.get('/conversations', { headers: { authorization: '' } })],
    [403, await api.post('/messages', TEXT, foreign)],
    [503, await away.get('/conversations')],
    [503, await away.get('/stats')],
    [405, await api.get('/messages')],
    [404, await api.get('/nothing')],
  ] as const) {
    expect(response.status, response.text).toBe(status)
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(problem.safeParse(response.body).error?.issues ?? []).toEqual([])
  }
})

test('other methods are refused with the allowed ones, and no origin is allowed', async () => {
  const refused = await api.get('/conversations/1/read', { method: 'DELETE' })
  const preflight = await api.get('/messages', {
    method: 'OPTIONS',
    headers: { origin: 'https://evil.example' },
  })

  expect(refused).toMatchObject({ status: 405, headers: { allow: 'POST' } })
  expect(preflight).toMatchObject({ status: 204, headers: { allow: 'POST' } })
  for (const { headers } of [refused, preflight])
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([])
})

function responseOf(operationId: string, status: number) {
  const found = operations().find(({ operation }) => operation.operationId === operationId)
  const response = found?.operation.responses[status]
  if (response === undefined) throw new Error(`${operationId} documents no ${status}`)
  return response
}

/** A schema of the document that refuses members which are not documented. */
function schemaOf(schema: Json): z.ZodType {
  const close = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(close)
    if (typeof value !== 'object' || value === null) return value
    const members = Object.entries(value).map(([name, item]) => [
      name,
      name === '$ref' ? String(item).replace('#/components/schemas/', '#/$defs/') : close(item),
    ])
    const closed: Json = Object.fromEntries(members)
    const isObject = closed.type === 'object' && closed.properties !== undefined
    return isObject && closed.additionalProperties === undefined
      ? { ...closed, additionalProperties: false }
      : closed
  }
  return z.fromJSONSchema(close({ ...schema, $defs: document.components.schemas }) as never)
}
