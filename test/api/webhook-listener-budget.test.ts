/** The memory of bodies that the webhook listener is receiving. The rules of one budget are in body-budget.test.ts. */
import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { createBodyBudget } from '../../src/api/body-budget.ts'
import { createWebhookListener } from '../../src/api/webhook-listener.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { send, serve } from '../support/http.ts'
import { providersWith } from '../support/providers.ts'
import { captureLog } from './captured-log.ts'

const KIB = 1024

/** A budget of 100 KiB; bodies up to 10 KiB are small. */
async function listen() {
  const url = await serve(
    createWebhookListener({
      providers: providersWith({
        META_APP_SECRET: 'test-app-secret',
        TWILIO_AUTH_TOKEN: 'test-auth-token',
        PUBLIC_URL: 'https://wa.example.com',
      }),
      receiveWebhook: async () => 'queued',
      log: captureLog().log,
      budget: createBodyBudget({ maxHeldBytes: 100 * KIB, smallBytes: 10 * KIB }),
      // Never answers.
      next: () => {},
    }),
  )
  const post = async (bytes: number) =>
    (await send(`${url}/webhooks/meta`, { method: 'POST', body: 'x'.repeat(bytes) })).status
  /** Announces a body and never finishes it. `before`: an earlier request on the same connection. */
  const hold = async (announce: string, bytes: number, before = ''): Promise<Socket> => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    cleanUp(() => socket.destroy())
    socket.on('error', () => {})
    socket.write(`${before}POST /webhooks/meta HTTP/1.1\r\nHost: a\r\n${announce}\r\n\r\n`)
    await new Promise<void>((resolve) => socket.write('x'.repeat(bytes), () => resolve()))
    return socket
  }
  return { post, hold }
}

test('bodies that never end keep out large ones until they are closed, and no small ones', async () => {
  const { post, hold } = await listen()
  const held = await Promise.all([1, 2].map(() => hold('Content-Length: 1000000', 50 * KIB)))

  await eventually(async () => expect(await post(20 * KIB)).toBe(503))
  expect(await post(10 * KIB)).toBe(200)

  for (const socket of held) socket.destroy()
  await eventually(async () => expect(await post(20 * KIB)).toBe(200))
})

test('bodies that were accepted while they were empty do not exceed the limit together', async () => {
  const { hold } = await listen()
  const sockets = await Promise.all([1, 2, 3].map(() => hold('Content-Length: 1000000', 0)))
  const answers = sockets.map(() => '')
  for (const [index, socket] of sockets.entries())
    socket.on('data', (chunk: Buffer) => {
      answers[index] += chunk.toString()
    })

  for (const socket of sockets) socket.write('x'.repeat(60 * KIB))

  await eventually(() =>
    expect(answers.filter((answer) => answer.startsWith('HTTP/1.1 503'))).not.toEqual([]),
  )
  expect(answers.filter((answer) => answer === '')).not.toEqual([])
})

test('bytes that are announced and never sent do not count', async () => {
  const { post, hold } = await listen()
  await Promise.all([1, 2, 3].map(() => hold('Content-Length: 1000000', 10)))

  expect(await post(90 * KIB)).toBe(200)
})

test('a body without a length counts while it grows', async () => {
  const { post, hold } = await listen()
  await hold('Transfer-Encoding: chunked', 0).then((socket) =>
    socket.write(`${(50 * KIB).toString(16)}\r\n${'x'.repeat(50 * KIB)}`),
  )

  await eventually(async () => expect(await post(60 * KIB)).toBe(503))
  expect(await post(10 * KIB)).toBe(200)
})

test('small bodies count too, and are accepted even so', async () => {
  const { post, hold } = await listen()
  const announce = `Content-Length: ${10 * KIB}`
  await Promise.all(Array.from({ length: 10 }, () => hold(announce, 10 * KIB - 1)))

  await eventually(async () => expect(await post(20 * KIB)).toBe(503))
  expect(await post(10 * KIB)).toBe(200)
})

test('a body whose answer waits behind another one is released when its client disconnects', async () => {
  const { post, hold } = await listen()
  const socket = await hold('Content-Length: 1000000', 60 * KIB, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(async () => expect(await post(60 * KIB)).toBe(503))

  socket.destroy()

  await eventually(async () => expect(await post(60 * KIB)).toBe(200), { timeoutMs: 3_000 })
})

test('a refused body counts no more, also while its client goes on sending', async () => {
  const { post, hold } = await listen()
  const other = await hold('Content-Length: 1000000', 60 * KIB)
  await eventually(async () => expect(await post(60 * KIB)).toBe(503))
  const refused = await hold('Content-Length: 1000000', 60 * KIB)
  const answer = await new Promise((resolve) => refused.once('data', (chunk) => resolve(chunk.toString())))
  expect(answer).toMatch(
    /^HTTP\/1.1 503 [\s\S]*retry-after: 5\r\nconnection: close\r\n[\s\S]*Too many large bodies are being read/i,
  )

  other.destroy()
  await eventually(async () => expect(await post(90 * KIB)).toBe(200))
  await new Promise<void>((resolve) => refused.write('x'.repeat(60 * KIB), () => resolve()))

  expect(await post(90 * KIB)).toBe(200)
})

test('large bodies one after the other are all accepted: each is released at its end', async () => {
  const { post } = await listen()

  const statuses = []
  for (let round = 0; round < 5; round++) statuses.push(await post(90 * KIB))

  expect(statuses).toEqual([200, 200, 200, 200, 200])
})
