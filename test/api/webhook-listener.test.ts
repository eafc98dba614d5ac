import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import type { ReceiveResult } from '../../src/api/receive-webhook.ts'
import { createWebhookListener } from '../../src/api/webhook-listener.ts'
import type { IncomingWebhook } from '../../src/providers/provider.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { send, serve } from '../support/http.ts'
import { providersWith } from '../support/providers.ts'
import { captureLog } from './captured-log.ts'

const MIB = 1024 * 1024

/** A listener that records the received webhooks and answers with the given result. */
async function listen(result: () => ReceiveResult | Promise<ReceiveResult> = () => 'queued') {
  const received: IncomingWebhook[] = []
  const { log, lines } = captureLog()
  const url = await serve(
    createWebhookListener({
      providers: providersWith({
        META_APP_SECRET: 'test-app-secret',
        TWILIO_AUTH_TOKEN: 'test-auth-token',
        PUBLIC_URL: 'https://wa.example.com',
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

test('a webhook is received byte for byte, with its address', async () => {
  const { url, received } = await listen()
  const body = '{"text":"\\u00e9\\/ é"}'

  const response = await send(`${url}/webhooks/meta?a=1`, { method: 'POST', body })

  expect(response).toMatchObject({ status: 200, text: '' })
  expect(received).toMatchObject([{ url: '/webhooks/meta?a=1' }])
  expect(received[0]?.rawBody.toString()).toBe(body)
})

test('a body in many pieces is received whole', async () => {
  const { url, received } = await listen()
  const body = 'é'.repeat(1.5 * MIB)

  await send(`${url}/webhooks/meta`, { method: 'POST', body })

  expect(received[0]?.rawBody.toString()).toBe(body)
})

test.each([
  ['announced', 'Content-Length: 1000000', (piece: string) => piece],
  ['in chunks', 'Transfer-Encoding: chunked', (piece: string) => inChunk(piece)],
])('a body of pieces of all sizes arrives whole: %s', async (_how, header, frame) => {
  const { url, received } = await listen()
  const body = Array.from({ length: 100_000 }, (_, index) => index.toString().padStart(9, '0')).join(' ')
  const sizes = [1, 70_000, 3, 900, 1, 128_000, 40_000, 1, 1, 300_000, 1_000_000]
  const { socket, answer } = openPost(url, header)

  let at = 0
  for (const size of sizes) {
    await write(socket, frame(`${body} `.slice(at, at + size)))
    at += size
  }
  if (frame('') !== '') socket.write(frame(''))

  expect(await answer).toMatch(/^HTTP\/1.1 200 /)
  expect(received[0]?.rawBody.toString()).toBe(`${body} `)
})

test('a body in very many tiny pieces is refused, because each piece costs memory and time', async () => {
  const { url, received } = await listen()
  const { socket, answer } = openPost(url, 'Transfer-Encoding: chunked')

  socket.write(inChunk('x').repeat(2_000))

  expect(await answer).toMatch(/^HTTP\/1.1 400 [\s\S]*\r\nconnection: close\r\n/i)
  expect(received).toEqual([])
})

test.each([
  ['few', 1_000, 1],
  ['not very small', 2_000, 320],
])('a body in small pieces that are %s arrives whole', async (_why, pieces, size) => {
  const { url, received } = await listen()
  const { socket, answer } = openPost(url, 'Transfer-Encoding: chunked')

  socket.write(inChunk('x'.repeat(size)).repeat(pieces) + inChunk(''))

  expect(await answer).toMatch(/^HTTP\/1.1 200 /)
  expect(received[0]?.rawBody.toString()).toBe('x'.repeat(size * pieces))
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
  ['/webhooks/meta', 'announced'],
  ['/webhooks/meta', 'sent in chunks'],
  ['/webhooks/twilio', 'announced'],
  ['/webhooks/twilio', 'sent in chunks'],
])('a body for %s over 4 MB is refused when it is %s', async (path, how) => {
  const { url, received } = await listen()
  const body = 'x'.repeat(4.5 * MIB)
  const isChunked = how === 'sent in chunks'
  const { socket, answer } = openPost(
    url,
    isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`,
    path,
  )

  socket.write(isChunked ? inChunk(body) : body)

  expect(await answer).toMatch(/^HTTP\/1.1 413 [\s\S]*\r\nconnection: close\r\n/i)
  expect(received).toEqual([])
})

test('a body is not received if its client disconnects half-way', async () => {
  const { url, received } = await listen()
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write('POST /webhooks/meta HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf')
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.destroy()

  // The next request is answered after the listener has given up the first one.
  await eventually(async () =>
    expect((await send(`${url}/webhooks/meta`, { method: 'POST' })).status).toBe(200),
  )

  expect(received).toHaveLength(1)
})

test('a defect is answered with 500 and logged without the body, and the listener goes on', async () => {
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

function inChunk(piece: string): string {
  return `${piece.length.toString(16)}\r\n${piece}\r\n`
}

function write(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve) => socket.write(text, () => resolve()))
}

/** Sends the headers of a request; the test sends the body. The answer may come before the end of the body. */
function openPost(url: string, header: string, path = '/webhooks/meta') {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  cleanUp(() => socket.destroy())
  socket.setNoDelay(true)
  socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\n${header}\r\n\r\n`)
  const answer = new Promise<string>((resolve, reject) => {
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.includes('\r\n\r\n')) resolve(text)
    })
    socket.on('error', reject)
  })
  return { socket, answer }
}
