/** How the server treats slow, silent and hostile clients, over raw sockets. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { allowLongBody, HTTP_LIMITS, type HttpLimits, startHttpServer } from '../../src/api/http-server.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const HOUR = 3_600_000
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n'

const answerWhenRead: RequestListener = (req, res) => {
  req.resume()
  req.on('end', () => res.writeHead(200, { 'content-length': '2' }).end('ok'))
}

async function start(limits: Partial<HttpLimits> = {}, listener = answerWhenRead) {
  const server = await startHttpServer(listener, {
    port: 0,
    host: '127.0.0.1',
    limits: { checkIntervalMs: 20, ...limits },
  })
  cleanUp(() => server.close(0))
  return server
}

type RawClient = { socket: Socket; text: () => string; ended: Promise<string> }

function open(port: number, first = ''): RawClient {
  const socket = connect(port, '127.0.0.1')
  cleanUp(() => socket.destroy())
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  if (first !== '') socket.write(first)
  const ended = new Promise<string>((resolve) => socket.on('close', () => resolve(text)))
  return { socket, text: () => text, ended }
}

/** Sends a little every few milliseconds until the server closes the connection. */
function dribble({ socket, ended }: RawClient, piece: string): void {
  const timer = setInterval(() => socket.write(piece), 10)
  void ended.finally(() => clearInterval(timer))
}

describe('a slow client', () => {
  test('that sends its headers slowly is disconnected with 408', async () => {
    const { port } = await start({ headersTimeoutMs: 100, requestTimeoutMs: 60_000 })
    const client = open(port, 'GET / HTTP/1.1\r\nHost: a\r\n')
    dribble(client, 'X-A: b\r\n')

    expect(await client.ended).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('that sends its body slowly is disconnected with 408', async () => {
    const { port } = await start({ headersTimeoutMs: 100, requestTimeoutMs: 200 })
    const client = open(port, POST)
    dribble(client, 'x')

    expect(await client.ended).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('whose body was answered before its end has no more time to send it', async () => {
    const { port } = await start({ requestTimeoutMs: 200 }, (_req, res) => res.writeHead(404).end())
    const client = open(port, POST)
    dribble(client, 'x')

    const answer = await client.ended

    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  })

  test('that ends a body which was answered before may send its next request', async () => {
    const { port } = await start({ requestTimeoutMs: 200 }, (req, res) => {
      if (req.method === 'POST') res.writeHead(404).end()
      else setTimeout(() => res.end('later'), 400)
    })
    const client = open(port, POST)
    await eventually(() => expect(client.text()).toContain('404'))

    client.socket.write('x'.repeat(100_000) + GET)

    await eventually(() => expect(client.text()).toContain('later'))
  })

  test('that is still receiving an answer is not disconnected', async () => {
    // Much longer than the pause between two beats: on a busy machine the process stands still for a while.
    const { port } = await start({ silenceTimeoutMs: 600 }, (_req, res) => {
      const timer = setInterval(() => res.write('beat'), 20)
      res.once('close', () => clearInterval(timer))
    })
    const client = open(port, GET)

    await eventually(() => expect(client.text().match(/beat/g)?.length).toBeGreaterThan(50))

    expect(client.socket.readyState).toBe('open')
  })

  test('that sends nothing of a long body is disconnected', async () => {
    const { port } = await start({ silenceTimeoutMs: 100 }, (req, res) => {
      allowLongBody(req)
      answerWhenRead(req, res)
    })

    expect(await open(port, POST).ended).toBe('')
  })

  test('that does not read its answer is disconnected', async () => {
    const sockets: Socket[] = []
    const { port } = await start({ silenceTimeoutMs: 100 }, (req, res) => {
      sockets.push(req.socket)
      res.end(Buffer.alloc(32 * 1024 * 1024))
    })

    open(port, GET).socket.pause()

    await eventually(() => expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true]))
  })

  test('whose body comes behind an unanswered request is disconnected, and reads no 408 as the answer to that one', async () => {
    const { port } = await start({ requestTimeoutMs: 100 }, () => {})
    const client = open(port, GET + POST)
    dribble(client, 'x')

    expect(await client.ended).toBe('')
  })

  test('has no more time for a body because the request before it may have a long one', async () => {
    const requests: IncomingMessage[] = []
    const { port } = await start({ requestTimeoutMs: 300 }, (req) => {
      req.resume()
      requests.push(req)
      if (requests[1]) allowLongBody(requests[0] ?? req)
    })
    const whole = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok'
    const client = open(port, whole + POST)
    dribble(client, 'x')

    expect(await client.ended).toBe('')
  })

  test('has more time for a long body, up to the limit of long bodies', async () => {
    const { port } = await start(
      { headersTimeoutMs: 50, requestTimeoutMs: 100, longRequestTimeoutMs: 1_000 },
      (req, res) => {
        allowLongBody(req)
        answerWhenRead(req, res)
      },
    )
    const startedAt = performance.now()
    const client = open(port, POST)
    dribble(client, 'x')

    expect(await client.ended).toMatch(/^HTTP\/1\.1 408 /)
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(1_000)
  })

  test('that sends nothing at all is disconnected', async () => {
    const { port } = await start({ headersTimeoutMs: 100, requestTimeoutMs: 200 })

    expect(await open(port).ended).toMatch(/^(?:HTTP\/1\.1 408 |$)/)
  })

  test('that was idle for long between two requests is disconnected', async () => {
    const { port } = await start({ keepAliveTimeoutMs: 50 })

    const answer = await open(port, GET).ended

    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(answer.split('HTTP/1.1').length).toBe(2)
  })

  test('does not delay other clients', async () => {
    const { port } = await start({ headersTimeoutMs: 20_000 })
    for (let i = 0; i < 100; i++) open(port, 'GET / HTTP/1.1\r\nHost: a\r\n')

    expect((await send(`http://127.0.0.1:${port}/`)).status).toBe(200)
  })
})

test('connections beyond the limit are closed at once, and a new one is accepted when one ends', async () => {
  const { port } = await start({ maxConnections: 2 })
  const [first, second] = [open(port, GET), open(port, GET)]
  await Promise.all(
    [first, second].map(({ socket }) => new Promise((resolve) => socket.once('data', resolve))),
  )

  expect(await open(port, GET).ended).toBe('')

  first.socket.destroy()
  await first.ended
  await expect
    .poll(() =>
      send(`http://127.0.0.1:${port}/`).then(
        ({ status }) => status,
        () => 0,
      ),
    )
    .toBe(200)
})

describe('a client that sends requests without waiting for answers', () => {
  test('gets all answers in order while few requests are unanswered', async () => {
    let asked = 0
    const { port } = await start({ maxUnanswered: 4 }, (_req, res) => {
      const number = ++asked
      setTimeout(() => res.end(`<${number}>`), number % 2 === 0 ? 0 : 20)
    })
    const client = open(port)

    for (const answered of [4, 8, 12]) {
      client.socket.write(GET.repeat(4))
      await eventually(() => expect(client.text()).toContain(`<${answered}>`))
    }

    const numbers = [...client.text().matchAll(/<(\d+)>/g)].map(([, number]) => Number(number))
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
  })

  test.each([
    ['a plain one', GET, 4],
    ['one without a host, which is refused', 'GET / HTTP/1.1\r\n\r\n', 1],
    ['one with an expectation', 'GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n', 4],
  ])(
    'is disconnected when many are outstanding, and none beyond them is looked at: %s',
    async (_what, request, expected) => {
      let asked = 0
      const { port } = await start({ maxUnanswered: 4 }, () => {
        asked++
      })

      expect(await open(port, GET + request.repeat(1_000)).ended).toBe('')

      expect(asked).toBe(expected)
    },
  )
})

describe('a request that two servers could read in two ways', () => {
  test.each([
    ['a length and chunks', 'Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6', 'hello!'],
    ['a list of lengths', 'Content-Length: 5, 5', 'hello'],
    ['a signed length', 'Content-Length: +5', 'hello'],
    ['a hexadecimal length', 'Content-Length: 0x5', 'hello'],
    ['chunks that are not the last coding', 'Transfer-Encoding: chunked, identity', '0\r\n\r\n'],
    ['a misspelt coding', 'Transfer-Encoding: xchunked', '0\r\n\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked', '0\r\n\r\n'],
    ['a folded header', 'Transfer-Encoding:\r\n chunked', '0\r\n\r\n'],
    ['a bare line feed', 'X-A: b\nTransfer-Encoding: chunked', '0\r\n\r\n'],
    ['a bare carriage return', 'X-A: b\rContent-Length: 5', 'hello'],
    ['a zero byte in a header', 'X-A: b\0c', ''],
    ['a chunk size that is none', 'Transfer-Encoding: chunked', 'zz\r\nhello\r\n0\r\n\r\n'],
    ['a chunk longer than its size', 'Transfer-Encoding: chunked', '2\r\nhello\r\n0\r\n\r\n'],
  ])('is refused: %s', async (_what, headers, body) => {
    const { port } = await start()

    const answer = await open(port, `POST / HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n${body}${GET}`).ended

    // One answer; the bytes after it are never read as another request.
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  })

  test('is refused without a host, and nothing behind it is read', async () => {
    const { port } = await start()

    const answer = await open(port, `GET / HTTP/1.1\r\n\r\n${GET}`).ended

    expect(answer).toMatch(/^HTTP\/1\.1 400 [\s\S]*\r\nConnection: close\r\n/)
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  })
})

describe('a request that is too large or not allowed', () => {
  test.each([
    ['one long header', `X-Long: ${'x'.repeat(17 * 1024)}`],
    ['many headers', Array.from({ length: 2_000 }, (_, i) => `X-${i}: abcdef`).join('\r\n')],
  ])('is refused with 431: %s', async (_what, headers) => {
    const { port } = await start()

    expect(await open(port, `GET / HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n`).ended).toMatch(
      /^HTTP\/1\.1 431 /,
    )
  })

  test('is refused with 431: a long address', async () => {
    const { port } = await start()

    expect(await open(port, `GET /${'x'.repeat(17 * 1024)} HTTP/1.1\r\nHost: a\r\n\r\n`).ended).toMatch(
      /^HTTP\/1\.1 431 /,
    )
  })

  test('gets no tunnel: CONNECT ends the connection', async () => {
    const { port } = await start()

    expect(await open(port, 'CONNECT 10.0.0.1:6379 HTTP/1.1\r\nHost: a\r\n\r\n').ended).toBe('')
  })
})

describe('an unusual request is answered', () => {
  test.each([
    ['of HTTP/1.0, which has no host', 'GET / HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 /],
    ['with an unknown expectation', 'GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n', /^HTTP\/1\.1 200 /],
    [
      'that asks first whether to send its body',
      'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx',
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /,
    ],
    [
      'with nearly 16 KB of headers',
      `GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(15 * 1024)}\r\n\r\n`,
      /^HTTP\/1\.1 200 /,
    ],
  ])('%s', async (_what, request, expected) => {
    const { port } = await start()
    const client = open(port, request)

    await eventually(() => expect(client.text()).toMatch(expected))
  })
})

describe('where no limits are given', () => {
  test('they are those of docs/security.md', () => {
    expect(HTTP_LIMITS).toEqual({
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 30_000,
      longRequestTimeoutMs: 15 * 60_000,
      checkIntervalMs: 5_000,
      keepAliveTimeoutMs: 65_000,
      silenceTimeoutMs: 60_000,
      maxUnanswered: 32,
      maxConnections: 5_000,
    })
  })

  test('a client is told how long its idle connection is kept', async () => {
    const { port } = await start()
    const client = open(port, GET)

    await eventually(() => expect(client.text()).toContain('\r\nKeep-Alive: timeout=65\r\n'))
  })
})

describe('an address on which nothing can listen is named with the next step', () => {
  const listenOn = (port: number, host: string) => startHttpServer(answerWhenRead, { port, host })

  test('a port that is taken', async () => {
    const { port } = await start()

    await expect(listenOn(port, '127.0.0.1')).rejects.toThrow(
      `port ${port} on 127.0.0.1 is taken; stop what listens there, or set PORT to another one`,
    )
  })

  test('a host that is another machine', async () => {
    await expect(listenOn(0, '192.0.2.1')).rejects.toThrow('HOST 192.0.2.1 is not an address of this machine')
  })

  test('a host that is none', async () => {
    const host = 'x'.repeat(300)

    await expect(listenOn(0, host)).rejects.toThrow(`cannot listen on ${host}:0: `)
  })
})

describe('a shutdown', () => {
  /** Each request waits until the test answers it. */
  async function startHeld() {
    const answers: ServerResponse[] = []
    const server = await start({}, (req, res) => {
      req.resume()
      answers.push(res)
    })
    const asked = (count: number) => eventually(() => expect(answers).toHaveLength(count))
    return { ...server, answers, asked }
  }

  test('waits for the answer to a request under way, and closes its connection with it', async () => {
    const { port, close, answers, asked } = await startHeld()
    const client = open(port, GET)
    await asked(1)

    const closed = close(HOUR)
    answers[0]?.end('ok')
    await closed

    expect(await client.ended).toMatch(/\r\nConnection: close\r\n[\s\S]*ok$/)
  })

  test('waits for the end of an answer that has begun', async () => {
    const { port, close, answers, asked } = await startHeld()
    const client = open(port, GET)
    await asked(1)
    answers[0]?.write('begun ')
    await eventually(() => expect(client.text()).toContain('begun'))

    const closed = close(HOUR)
    answers[0]?.end('and ended')
    await closed

    expect(await client.ended).toContain('and ended')
  })

  test('answers all requests that a client has sent before, in order', async () => {
    const { port, close, answers, asked } = await startHeld()
    const client = open(port, GET.repeat(3))
    await asked(3)

    const closed = close(HOUR)
    for (const [number, answer] of answers.entries()) answer.end(`<${number}>`)
    await closed

    expect((await client.ended).match(/<\d>|Connection: close/g)).toEqual([
      '<0>',
      '<1>',
      'Connection: close',
      '<2>',
    ])
  })

  test('answers a request that was half sent when it began', async () => {
    const { port, close, answers, asked } = await startHeld()
    const client = open(port, `${GET}GET / HTTP/1.1\r\n`)
    await asked(1)
    answers[0]?.end('before')
    await eventually(() => expect(client.text()).toContain('before'))

    const closed = close(HOUR)
    client.socket.write('Host: a\r\n\r\n')
    await asked(2)
    answers[1]?.end('ok')
    await closed

    expect(await client.ended).toMatch(/\r\nConnection: close\r\n[\s\S]*ok$/)
  })

  test('closes idle connections, and accepts no new one', async () => {
    const { port, close, answers, asked } = await startHeld()
    const client = open(port, GET)
    await asked(1)
    answers[0]?.end('ok')
    await eventually(() => expect(client.text()).toContain('ok'))

    await close(HOUR)

    expect(await client.ended).toContain('Connection: keep-alive')
    await expect(send(`http://127.0.0.1:${port}/`)).rejects.toThrow('ECONNREFUSED')
  })

  test('cuts off at its deadline a client whose request has no answer', async () => {
    const { port, close, asked } = await startHeld()
    const client = open(port, GET)
    await asked(1)

    await close(50)

    expect(await client.ended).toBe('')
  })
})
