import { connect } from 'node:net'
import { expect, test } from 'vitest'
import type { ReceiveResult } from '../../src/api/receive-webhook.ts'
import { createWebhookListener } from '../../src/api/webhook-listener.ts'
import { createProviders } from '../../src/providers/index.ts'
import type { IncomingWebhook } from '../../src/providers/provider.ts'
import { eventually } from '../support/eventually.ts'
import { send, serve } from '../support/http.ts'
import { captureLog } from './captured-log.ts'

const MIB = 1024 * 1024

/** A listener that notes what it receives and gives it the result asked for. */
async function listen(result: () => ReceiveResult | Promise<ReceiveResult> = () => 'queued') {
  const received: IncomingWebhook[] = []
  const { log, lines } = captureLog()
  const url = await serve(
    createWebhookListener({
      providers: createProviders({
        meta: { appSecrets: ['test-app-secret'] },
        twilio: { authTokens: ['test-auth-token'], publicUrl: 'https://wa.example.com' },
      }),
      receiveWebhook: async (_provider, webhook) => {
        received.push(webhook)
        return result()
      },
      log,
      next: (_req, res) => res.writeHead(204).end(),
    }),
  )
  return { url, received, lines }
}

test('a webhook arrives byte for byte, with its address', async () => {
  const { url, received } = await listen()
  const body = '{"text":"\\u00e9\\/ é"}'

  const response = await send(`${url}/webhooks/meta?a=1`, { method: 'POST', body })

  expect(response).toMatchObject({ status: 200, text: '' })
  expect(received).toMatchObject([{ url: '/webhooks/meta?a=1' }])
  expect(received[0]?.rawBody.toString()).toBe(body)
})

test('a body in many pieces arrives whole', async () => {
  const { url, received } = await listen()
  const body = 'é'.repeat(1.5 * MIB)

  await send(`${url}/webhooks/meta`, { method: 'POST', body })

  expect(received[0]?.rawBody.toString()).toBe(body)
})

test('a request without a body is a webhook without bytes', async () => {
  const { url, received } = await listen()

  expect((await send(`${url}/webhooks/meta`, { method: 'POST' })).status).toBe(200)

  expect(received[0]?.rawBody).toHaveLength(0)
})

test('Twilio gets TwiML that sends nothing', async () => {
  const { url } = await listen()

  const response = await send(`${url}/webhooks/twilio`, { method: 'POST', body: 'A=b' })

  expect(response.headers['content-type']).toBe('text/xml; charset=utf-8')
  expect(response.text).toBe('<Response/>')
})

test.each(['/webhooks/meta/', '/WebHooks/Meta', '/webhooks/meta/?a=1'])(
  '%s is the address of Meta too',
  async (path) => {
    const { url, received } = await listen()

    await send(url + path, { method: 'POST', body: '{}' })

    expect(received).toHaveLength(1)
  },
)

test.each([
  ['GET', '/webhooks/meta'],
  ['POST', '/webhooks/metal'],
  ['POST', '/webhooks'],
  ['POST', '/webhooks/__proto__'],
  ['POST', '/'],
])('%s %s goes on to the app', async (method, path) => {
  const { url, received } = await listen()

  expect((await send(url + path, { method })).status).toBe(204)

  expect(received).toEqual([])
})

test.each([
  ['forged', 401],
  ['unavailable', 503],
] as const)('a webhook that is %s is answered with %d', async (result, status) => {
  const { url } = await listen(() => result)

  const response = await send(`${url}/webhooks/meta`, { method: 'POST', body: '{}' })

  expect(response.status).toBe(status)
  expect(response.headers['content-type']).toContain('application/problem+json')
  expect(response.json()).toMatchObject({ status })
})

test('a compressed body is refused', async () => {
  const { url, received } = await listen()
  const headers = { 'content-encoding': 'gzip' }

  expect((await send(`${url}/webhooks/meta`, { method: 'POST', headers, body: 'x' })).status).toBe(415)

  expect(received).toEqual([])
})

test.each([
  ['announced', { 'content-length': String(5 * MIB) }],
  ['sent in chunks', { 'transfer-encoding': 'chunked' }],
])('a body over 4 MB is refused when it is %s', async (_how, headers) => {
  const { url, received } = await listen()

  const response = await sendRaw(url, headers, Buffer.alloc(4.5 * MIB, 'x'))

  expect(response).toMatch(/^HTTP\/1.1 413 /)
  expect(response.toLowerCase()).toContain('connection: close')
  expect(received).toEqual([])
})

test('nothing is received of a client that leaves in the middle of its body', async () => {
  const { url, received } = await listen()
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write('POST /webhooks/meta HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf')
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.destroy()

  // The next request is answered after the first one has been given up.
  await eventually(async () =>
    expect((await send(`${url}/webhooks/meta`, { method: 'POST' })).status).toBe(200),
  )

  expect(received).toHaveLength(1)
})

test('a defect is answered with 500, logged without the body, and ends nothing', async () => {
  const { url, lines } = await listen(() => {
    throw new Error('out of ideas')
  })

  const response = await send(`${url}/webhooks/meta`, { method: 'POST', body: '{"secret":"text"}' })

  expect(response.status).toBe(500)
  expect(response.text).not.toContain('ideas')
  expect(lines()).toMatchObject([{ msg: 'request failed', path: '/webhooks/meta', method: 'POST' }])
  expect(JSON.stringify(lines())).not.toContain('secret')
  expect((await send(`${url}/`)).status).toBe(204)
})

/** Writes until the server answers, and gives the answer's first bytes. */
function sendRaw(url: string, headers: Record<string, string>, body: Buffer): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`POST /webhooks/meta HTTP/1.1\r\nHost: a\r\n${head.join('')}\r\n`)
  if (headers['transfer-encoding'] === 'chunked') socket.write(`${body.length.toString(16)}\r\n`)
  socket.write(body)
  return new Promise((resolve, reject) => {
    let answer = ''
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString()
      if (!answer.includes('\r\n\r\n')) return
      socket.destroy()
      resolve(answer)
    })
    socket.on('error', reject)
  })
}
