import { connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
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

test('large bodies one after the other are all accepted: each is released at its end', async () => {
  const { post } = await listen()

  const statuses = []
  for (let round = 0; round < 5; round++) statuses.push(await post(90 * KIB))

  expect(statuses).toEqual([200, 200, 200, 200, 200])
})

describe('one body', () => {
  const open = (maxBytes: number) =>
    createBodyBudget({ maxHeldBytes: 10_000, smallBytes: 100 }).startBody(maxBytes)

  test('has the bytes of its pieces in order, whatever their sizes', () => {
    for (const sizes of [[], [1], [3, 1, 1, 200, 5, 1_000, 1], [100, 100], [1, 99, 1]]) {
      const body = open(5_000)
      const pieces = sizes.map((size, index) => Buffer.alloc(size, index + 1))
      for (const piece of pieces) expect(body.add(piece)).toBeUndefined()

      expect(body.bytes().equals(Buffer.concat(pieces))).toBe(true)
    }
  })

  test('may have exactly as many bytes as were announced', () => {
    const body = open(100)

    expect([body.add(Buffer.alloc(60)), body.add(Buffer.alloc(40))]).toEqual([undefined, undefined])
    expect(body.add(Buffer.alloc(1))).toBe('too_large')
    expect(body.bytes()).toHaveLength(100)
  })

  test('may have 1,024 tiny pieces; with more they must have 256 bytes on the average', () => {
    const tiny = () => {
      const body = createBodyBudget().startBody(1024 * KIB)
      for (let piece = 0; piece < 1_024; piece++) expect(body.add(Buffer.alloc(1))).toBeUndefined()
      return body
    }

    expect(tiny().add(Buffer.alloc(1))).toBe('too_many_pieces')
    expect(tiny().add(Buffer.alloc(1_025 * 256 - 1_024 - 1))).toBe('too_many_pieces')
    expect(tiny().add(Buffer.alloc(1_025 * 256 - 1_024))).toBeUndefined()
  })

  test('has no bytes after it was dropped', () => {
    const body = open(100)
    body.add(Buffer.from('abc'))

    body.drop()

    expect(body.bytes()).toHaveLength(0)
  })
})

/** In a budget of 1,000 bytes, where bodies up to 100 bytes are small: how many a further body may bring. */
describe('the room that is left', () => {
  const roomBeside = (use: (budget: ReturnType<typeof createBodyBudget>) => void) => {
    const fits = (bytes: number) => {
      const budget = createBodyBudget({ maxHeldBytes: 1_000, smallBytes: 100 })
      use(budget)
      return budget.startBody(5_000).add(Buffer.alloc(bytes)) === undefined
    }
    return Array.from({ length: 1_001 }, (_, bytes) => bytes).findLast(fits)
  }
  const add = (body: ReturnType<ReturnType<typeof createBodyBudget>['startBody']>, ...sizes: number[]) => {
    for (const size of sizes) body.add(Buffer.alloc(size))
    return body
  }

  test.each<[string, (budget: ReturnType<typeof createBodyBudget>) => void, number]>([
    ['nothing', () => {}, 1_000],
    ['one piece, as it is', (budget) => add(budget.startBody(5_000), 400), 600],
    ['a body that has grown, doubled', (budget) => add(budget.startBody(5_000), 400, 1), 200],
    ['a body that fits what it has doubled to', (budget) => add(budget.startBody(5_000), 400, 1, 399), 200],
    [
      'a body that may not double to more than it has announced',
      (budget) => add(budget.startBody(500), 400, 1),
      500,
    ],
    ['a large second piece', (budget) => add(budget.startBody(5_000), 10, 890), 100],
    ['a small body, doubled to the size of small ones', (budget) => add(budget.startBody(5_000), 60, 1), 900],
    ['a small body that has announced less', (budget) => add(budget.startBody(70), 60, 1), 930],
    ['a piece that was refused', (budget) => add(budget.startBody(5_000), 300, 701), 700],
    ['a body that was dropped', (budget) => add(budget.startBody(5_000), 400, 1).drop(), 1_000],
    [
      'a body that was dropped twice',
      (budget) => {
        add(budget.startBody(5_000), 500)
        const body = add(budget.startBody(5_000), 400)
        body.drop()
        body.drop()
      },
      500,
    ],
    [
      'more small bodies than it has bytes for',
      (budget) => {
        for (let count = 0; count < 11; count++) add(budget.startBody(100), 100)
      },
      100,
    ],
  ])('beside %s', (_what, use, room) => {
    expect(roomBeside(use)).toBe(room)
  })
})
