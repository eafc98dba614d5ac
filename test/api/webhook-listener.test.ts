import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { ReceiveResult } from '../../src/api/receive-webhook.ts'
import { createWebhookListener } from '../../src/api/webhook-listener.ts'
import type { IncomingWebhook, Provider } from '../../src/providers/provider.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { send, serve } from '../support/http.ts'
import { providersWith } from '../support/providers.ts'
import { captureLog } from './captured-log.ts'

const MIB = 1024 * 1024
const MAX_BYTES = 4 * MIB

/** A listener that records the received webhooks and answers with the given result. */
async function listen(
  result: () => ReceiveResult | Promise<ReceiveResult> = () => 'queued',
  change: (provider: Provider) => Provider = (provider) => provider,
) {
  const received: IncomingWebhook[] = []
  const requests: IncomingMessage[] = []
  const { log, lines } = captureLog()
  const listener = createWebhookListener({
    providers: providersWith({
      META_APP_SECRET: 'test-app-secret',
      TWILIO_AUTH_TOKEN: 'test-auth-token',
      PUBLIC_URL: 'https://wa.example.com',
    }).map(change),
    receiveWebhook: async (_provider, webhook) => {
      received.push(webhook)
      return result()
    },
    log,
    next: (_req, res) => res.writeHead(204).end(),
  })
  const url = await serve((req, res) => {
    requests.push(req)
    listener(req, res)
  })
  return { url, received, lines, requests }
}

test('a webhook is received byte for byte, with its address, its headers and the time', async () => {
  const { url, received } = await listen()
  const body = '{"text":"\\u00e9\\/ é"}'

  const before = Date.now()
  const headers = { 'x-signature': 'of the body' }
  const response = await send(`${url}/webhooks/meta?a=1`, { method: 'POST', headers, body })

  expect(response).toMatchObject({ status: 200, text: '' })
  expect(received).toMatchObject([{ url: '/webhooks/meta?a=1', headers }])
  expect(received[0]?.received_at).toBeGreaterThanOrEqual(before)
  expect(received[0]?.received_at).toBeLessThanOrEqual(Date.now())
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
  ['POST', '/webhooks/meta//'],
  ['POST', '//webhooks/meta'],
  ['POST', '/webhooks/__proto__'],
  ['PUT', '/webhooks/meta'],
  ['POST', '/'],
])('%s %s goes on to the app', async (method, path) => {
  const { url, received } = await listen()

  expect((await send(url + path, { method })).status).toBe(204)

  expect(received).toEqual([])
})

test.each([
  ['forged', 401, 'The signature is missing or wrong.', undefined],
  ['unavailable', 503, 'No store can confirm the webhook at the moment. Send it again later.', '5'],
] as const)('a webhook that is %s is answered with %d', async (result, status, detail, retryAfter) => {
  const { url } = await listen(() => result)

  const response = await send(`${url}/webhooks/meta`, { method: 'POST', body: '{}' })

  expect(response.status).toBe(status)
  expect(response.headers['content-type']).toContain('application/problem+json')
  expect(response.headers['retry-after']).toBe(retryAfter)
  expect(response.json()).toMatchObject({ status, detail })
})

test.each(['queued', 'stored'] as const)(
  '200 for a webhook that is %s comes after that, and not before',
  async (result) => {
    const durable = Promise.withResolvers<ReceiveResult>()
    const { url, received } = await listen(() => durable.promise)
    const { socket, answer, text } = openPost(url, 'Content-Length: 2')
    socket.write('{}')
    await eventually(() => expect(received).toHaveLength(1))

    // Another request goes all the way there and back meanwhile.
    await send(`${url}/`)
    expect(text()).toBe('')
    durable.resolve(result)

    expect(await answer).toMatch(/^HTTP\/1.1 200 /)
  },
)

test.each(['gzip', 'br', 'deflate', 'identity, gzip', ''])(
  'a body in the encoding %j is refused',
  async (encoding) => {
    const { url, received } = await listen()
    const headers = { 'content-encoding': encoding }

    const response = await send(`${url}/webhooks/meta`, { method: 'POST', headers, body: 'x' })

    expect(response.json()).toMatchObject({
      status: 415,
      detail: 'The body has a content type, character set or encoding that is not supported.',
    })
    expect(received).toEqual([])
  },
)

test.each(['identity', 'Identity'])('a body in the encoding %j is received', async (encoding) => {
  const { url, received } = await listen()
  const headers = { 'content-encoding': encoding }

  expect((await send(`${url}/webhooks/meta`, { method: 'POST', headers, body: 'x' })).status).toBe(200)

  expect(received).toHaveLength(1)
})

test('a client whose body was refused may send its next request on the same connection', async () => {
  const { url } = await listen()
  const { socket, text } = openPost(url, 'Content-Encoding: gzip\r\nContent-Length: 3')
  await eventually(() => expect(text()).toContain('HTTP/1.1 415 '))

  socket.write('abcGET / HTTP/1.1\r\nHost: a\r\n\r\n')

  await eventually(() => expect(text()).toContain('HTTP/1.1 204 '))
})

test('a client that goes on sending a refused body gets its answer, and two seconds to end', async () => {
  const { url, requests } = await listen()
  const { socket, answer, ended } = openPost(url, `Content-Length: ${MAX_BYTES + 1}`)
  expect(await answer).toMatch(/^HTTP\/1.1 413 /)

  // Closing earlier would reset the connection, and the client could lose the answer.
  const startedAt = performance.now()
  const timer = setInterval(() => socket.write('x'.repeat(1_000)), 20)
  await ended
  clearInterval(timer)

  expect(performance.now() - startedAt).toBeGreaterThan(1_500)
  expect(performance.now() - startedAt).toBeLessThan(20_000)
  expect(requests[0]?.socket.bytesRead).toBeGreaterThan(10_000)
})

describe('a body of 4 MB', () => {
  const inPieces = (bytes: number) =>
    [...Array(bytes >> 16).fill(1 << 16), bytes % (1 << 16)].filter((size) => size > 0)

  test.each(['announced', 'in chunks'])('is received, and of one byte more is refused: %s', async (how) => {
    const { url, received } = await listen()
    const post = async (bytes: number) => {
      const isChunked = how === 'in chunks'
      const { socket, answer, text } = openPost(
        url,
        isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${bytes}`,
      )
      for (const size of inPieces(bytes)) {
        const piece = 'x'.repeat(size)
        await write(socket, isChunked ? inChunk(piece) : piece)
      }
      if (isChunked) socket.write(inChunk(''))
      await answer
      return text()
    }

    expect(await post(MAX_BYTES)).toMatch(/^HTTP\/1.1 200 /)
    expect(received[0]?.rawBody).toHaveLength(MAX_BYTES)
    expect(await post(MAX_BYTES + 1)).toMatch(
      /^HTTP\/1.1 413 [\s\S]*\r\nconnection: close\r\n[\s\S]*The body is too large\./i,
    )
    expect(received).toHaveLength(1)
  })
})

test.each(['/webhooks/meta', '/webhooks/twilio'])(
  'a body for %s over 4 MB is refused before it is sent',
  async (path) => {
    const { url, received } = await listen()

    const { answer } = openPost(url, `Content-Length: ${MAX_BYTES + 1}`, path)

    expect(await answer).toMatch(/^HTTP\/1.1 413 /)
    expect(received).toEqual([])
  },
)

test('a body is not received if its client disconnects half-way', async () => {
  const { url, received, lines, requests } = await listen()
  const { socket } = openPost(url, 'Content-Length: 100')
  socket.write('half')
  await eventually(() => expect(requests).toHaveLength(1))

  socket.destroy()
  await eventually(() => expect(requests[0]?.closed).toBe(true))
  await send(`${url}/`)

  expect([received, lines()]).toEqual([[], []])
})

test('a defect is answered with 500 and logged without the body, and the listener goes on', async () => {
  const { url, lines } = await listen(() => {
    throw new Error('out of ideas')
  })

  const response = await send(`${url}/webhooks/meta`, { method: 'POST', body: '{"secret":"text"}' })

  expect(response.status).toBe(500)
  expect(response.json()).toMatchObject({ status: 500, detail: 'Internal error.' })
  expect(lines()).toMatchObject([
    { msg: 'request failed', path: '/webhooks/meta', method: 'POST', err: { message: 'out of ideas' } },
  ])
  expect(JSON.stringify(lines())).not.toContain('secret')
  expect((await send(`${url}/`)).status).toBe(204)
})

test('a defect in the middle of an answer closes the connection, so that the client notices', async () => {
  const acknowledgement = { headers: {}, body: 7 as unknown as string }
  const { url, lines } = await listen(undefined, (provider) => ({ ...provider, acknowledgement }))

  await expect(send(`${url}/webhooks/meta`, { method: 'POST', body: '{}' })).rejects.toThrow(
    /aborted|hang up/,
  )

  expect(lines()).toMatchObject([{ msg: 'request failed' }])
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
  let received = ''
  const answer = new Promise<string>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString()
      if (received.includes('\r\n\r\n')) resolve(received)
    })
    socket.on('error', reject)
  })
  const ended = new Promise((resolve) => socket.once('close', resolve))
  return { socket, answer, ended, text: () => received }
}
