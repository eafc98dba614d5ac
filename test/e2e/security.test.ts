/**
 * A receiver as a stranger on the network sees it: one real process with everything on one port. Tests of connections
 * alone are in test/api/http-server.test.ts.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { basicAuth, bearerAuth, type HttpRequest, send } from '../support/http.ts'
import { META_APP_SECRET, metaHeaders, metaTextWebhook, wamid } from '../support/meta-webhooks.ts'
import { ADMIN_PASSWORD, startService, type TestService, TWILIO_AUTH_TOKEN } from '../support/service.ts'

const MIB = 1024 * 1024
const API_TOKEN = 'api-token-of-the-security-tests'
const METRICS_TOKEN = 'metrics-token-of-the-security-tests'
const ACCESS_TOKEN = 'access-token-of-the-security-tests'
const VERIFY_TOKEN = 'verify-token-of-the-security-tests'
const asAdmin = basicAuth('admin', ADMIN_PASSWORD)
const withToken = bearerAuth(API_TOKEN)

let service: TestService

beforeAll(async () => {
  service = await startService({
    backend: 'postgres',
    // Events stay on the queue, where Bull Board shows them.
    workers: 0,
    env: {
      API_TOKENS: API_TOKEN,
      METRICS_TOKEN,
      META_VERIFY_TOKEN: VERIFY_TOKEN,
      META_ACCESS_TOKEN: ACCESS_TOKEN,
      TRUST_PROXY: 'loopback',
      PUBLIC_URL: 'https://wa.example.com',
      LOG_LEVEL: 'debug',
    },
  })
})

const ask = (path: string, request: HttpRequest = {}) => send(service.url + path, request)

describe('without credentials', () => {
  test('a client sees only that the service exists', async () => {
    const closed = ['/', '/queues', '/queues/api/queues', '/queues/static/js/x.js', '/metrics']
    const api = [
      'stats',
      'conversations',
      'conversations/1/messages',
      'messages/1',
      'changes',
      'stream',
      'openapi.json',
    ]
    for (const path of [...closed, ...api.map((name) => `/api/${name}`)])
      expect((await ask(path)).status, path).toBe(401)

    expect((await ask('/health/ready')).json()).toEqual({ status: 'ok' })
    for (const path of [
      '/.env',
      '/.git/config',
      '/package.json',
      '/assets/',
      '/assets/../dashboard.ts',
      '/assets/%2e%2e/html.ts',
    ])
      expect((await ask(path)).status, path).toBe(404)
  })

  test('the handshake needs the token and never answers with a page', async () => {
    const challenge = '<script>alert(1)</script>'
    const query = (token: string) =>
      `/webhooks/meta?hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=${encodeURIComponent(challenge)}`

    const [wrong, right] = [await ask(query('guess')), await ask(query(VERIFY_TOKEN))]

    expect(wrong.status).toBe(403)
    expect(wrong.text).not.toContain('script')
    expect(right.text).toBe(challenge)
    expect(right.headers).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
    })
  })

  test.each(['PUT', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND', 'OPTIONS'])(
    '%s does nothing to a webhook',
    async (method) => {
      const body = metaTextWebhook({ id: wamid() }).toString()

      const { status, text } = await ask('/webhooks/meta', { method, headers: metaHeaders(body), body })

      expect([200, 404, 405]).toContain(status)
      // TRACE would reveal headers that a proxy has added.
      expect(text).not.toContain('sha256=')
      if (method !== 'OPTIONS') expect(status).not.toBe(200)
    },
  )
})

describe('guessing the password', () => {
  test('ends after ten wrong ones, for this address only, and even for the right one', async () => {
    const from = (address: string) => ({ 'x-forwarded-for': address })
    const guess = (password: string, address = '203.0.113.7') =>
      ask('/api/stats', { headers: { ...basicAuth('admin', password), ...from(address) } })
    for (let attempt = 0; attempt < 10; attempt++) expect((await guess(`guess ${attempt}`)).status).toBe(401)

    const blocked = await guess(ADMIN_PASSWORD)

    expect(blocked.status).toBe(429)
    expect(Number(blocked.headers['retry-after'])).toBeGreaterThan(200)
    expect((await guess(ADMIN_PASSWORD, '203.0.113.8')).status).toBe(200)
    await eventually(() => expect(service.api.output).toContain('admin login blocked'))
  })

  test('an answer does not reveal whether the user name was right', async () => {
    const answers = await Promise.all(
      [basicAuth('admin', 'guess'), basicAuth('nobody', 'guess'), bearerAuth('guess')].map((headers) =>
        ask('/api/stats', { headers: { ...headers, 'x-forwarded-for': '203.0.113.9' } }),
      ),
    )

    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
  })
})

describe('bodies that cost more than their size', () => {
  test('a compressed webhook is refused unread, even with a right signature', async () => {
    const body = gzipSync(Buffer.alloc(64 * MIB))

    const { status } = await ask('/webhooks/meta', {
      method: 'POST',
      headers: { ...metaHeaders(body), 'content-encoding': 'gzip' },
      body: body.toString('latin1'),
    })

    expect(status).toBe(415)
  })

  test('a compressed request to the API is unpacked up to its limit only', async () => {
    const before = await residentBytes()

    const answer = await post('/api/messages', gzipSync(Buffer.alloc(64 * MIB, ' ')), {
      ...withToken,
      'content-type': 'application/json',
      'content-encoding': 'gzip',
    })

    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    expect((await residentBytes()) - before).toBeLessThan(48 * MIB)
  })
})

test('a client that sends requests without reading answers is disconnected, and no other client', async () => {
  const socket = await open()
  socket.resume()
  const closed = new Promise((resolve) => socket.once('close', resolve))

  socket.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1_000))

  await closed
  expect((await ask('/health/live')).status).toBe(200)
})

describe('headers for browsers', () => {
  test.each(['/', '/queues', '/health/ready', '/unknown'])(
    '%s runs nothing of others and stands in no frame',
    async (path) => {
      const { headers } = await ask(path, { headers: { ...asAdmin, accept: 'text/html' } })

      expect(headers['content-security-policy']).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
      })
    },
  )

  test.each([
    ['a form of another site', { origin: 'https://evil.example', 'content-type': 'text/plain' }],
    ['a script of another site', { origin: 'https://evil.example', 'content-type': 'application/json' }],
    ['another port of this machine', { origin: 'http://127.0.0.1:1', 'content-type': 'application/json' }],
    ['a site next door', { 'sec-fetch-site': 'same-site', 'content-type': 'application/json' }],
    ['a frame without an origin', { origin: 'null', 'content-type': 'application/json' }],
  ])('%s cannot act in the name of the admin', async (_who, headers) => {
    const body = JSON.stringify({ to: '+15551230001', type: 'text', text: 'forged' })

    const { status, headers: answered } = await ask('/api/messages', {
      method: 'POST',
      headers: { ...asAdmin, ...headers },
      body,
    })

    expect([403, 415]).toContain(status)
    expect(answered['access-control-allow-origin']).toBeUndefined()
    expect(await service.count('chat_messages')).toBe(0)
  })
})

test('the log, Bull Board and errors show no secret and no content of messages', async () => {
  const [text, name, phone] = ['private words of a person', 'Private Name', '15551239876']
  const body = metaTextWebhook({ id: wamid(), text, from: phone })
    .toString()
    .replace('"profile":{', `"profile":{"x":"${name}",`)
  expect((await service.deliver(body)).status).toBe(200)
  expect((await service.deliver(`{"unreadable": "${text}`)).status).toBe(200)
  await ask('/webhooks/meta', { method: 'POST', headers: metaHeaders('other'), body })
  await ask('/api/messages', {
    method: 'POST',
    headers: { ...withToken, 'content-type': 'application/json' },
    body: `{"text": "${text}`,
  })
  await ask(`/api/conversations?q=${encodeURIComponent(text)}&cursor=x`, { headers: withToken })

  const board = await ask('/queues/api/queues?activeQueue=inbound&page=1&jobsPerPage=20', {
    headers: asAdmin,
  })

  expect(board.text).toContain('received_at')
  const secrets = [
    META_APP_SECRET,
    TWILIO_AUTH_TOKEN,
    ADMIN_PASSWORD,
    API_TOKEN,
    METRICS_TOKEN,
    ACCESS_TOKEN,
    VERIFY_TOKEN,
  ]
  for (const hidden of [text, name, phone, 'sha256=', ...secrets]) {
    expect(service.api.output).not.toContain(hidden)
    expect(board.text).not.toContain(hidden)
  }
})

async function residentBytes(): Promise<number> {
  const { text } = await ask('/metrics', { headers: bearerAuth(METRICS_TOKEN) })
  return Number(/^process_resident_memory_bytes (\d+)/m.exec(text)?.[1])
}

async function open(): Promise<Socket> {
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  cleanUp(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** The raw answer, even if the server sends it before it has read the whole body. */
async function post(path: string, body: Buffer, headers: Record<string, string>): Promise<string> {
  const socket = await open()
  const { host } = new URL(service.url)
  const lines = Object.entries({ host, ...headers, 'content-length': String(body.length) })
  socket.write(
    `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
  )
  socket.write(body)
  return new Promise((resolve) => socket.once('data', (chunk) => resolve(chunk.toString('latin1'))))
}
