/**
 * A provider's API as a real HTTP server. A test chooses the fault of each call: one of the network or of the provider.
 * The server records every call that it has read, so a test can see that a message was sent twice.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { cleanUp } from './clean-up.ts'
import { eventually } from './eventually.ts'

export type FakeCall = {
  method: string
  path: string
  headers: IncomingMessage['headers']
  body: string
  /** Milliseconds since 1970. */
  at: number
}

/** Handles a call in its own way; without `answer` the call gets the provider's usual answer. */
export type Behaviour = (call: FakeCall, exchange: Exchange) => void | Promise<void>

export type Exchange = {
  answer(status: number, body: unknown, headers?: Record<string, string>): void
  /** The provider's usual answer. */
  succeed(): void
  /** Ends the connection without an answer. */
  cut(): void
  /** Begins the answer and cuts it off in the middle. */
  cutAnswer(): void
}

export type FakeServer = {
  url: string
  /** Calls that were read to their end, in the order of arrival. */
  calls: FakeCall[]
  /** Connections that were made. */
  connections(): number
  /** Uses these behaviours for the next matching calls, one for each call; calls after them succeed. */
  next(...behaviours: Behaviour[]): void
  /** Uses this behaviour for every call without one of its own. */
  always(behaviour: Behaviour): void
  /** From now on connections are cut before anything is read. */
  cutConnections(isCut: boolean): void
  /** Refuses connections. */
  refuse(): Promise<void>
  listen(): Promise<void>
  /** Removes all recorded calls and behaviours. */
  reset(): void
}

export type FakeServerOptions = {
  /** The calls to which the behaviours apply; other calls always succeed. */
  isSend(call: FakeCall): boolean
  succeed(call: FakeCall): { status: number; body: unknown } | Promise<{ status: number; body: unknown }>
}

/** Closed with the test (or the file). */
export async function startFakeServer({ isSend, succeed }: FakeServerOptions): Promise<FakeServer> {
  const calls: FakeCall[] = []
  const sockets = new Set<Socket>()
  const line: Behaviour[] = []
  let usual = succeedAlways
  let isCut = false
  let connections = 0

  const server = createServer(async (req, res) => {
    const call = await readCall(req).catch(() => undefined)
    if (call === undefined) return
    calls.push(call)
    const exchange = createExchange(res, () => succeed(call))
    const behaviour = isSend(call) ? (line.shift() ?? usual) : (_: FakeCall, it: Exchange) => it.succeed()
    await behaviour(call, exchange)
  })
  server.on('connection', (socket) => {
    connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    if (isCut) socket.destroy()
  })
  const listen = (port: number) =>
    new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
  await listen(0)
  const { port } = server.address() as AddressInfo
  const refuse = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of sockets) socket.destroy()
    await closed
  }
  cleanUp(refuse)
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    connections: () => connections,
    next: (...behaviours) => line.push(...behaviours),
    always: (behaviour) => {
      usual = behaviour
    },
    cutConnections: (cut) => {
      isCut = cut
    },
    refuse,
    listen: () => listen(port),
    reset: () => {
      calls.length = 0
      line.length = 0
      connections = 0
      isCut = false
      usual = succeedAlways
    },
  }
}

/** A behaviour that waits during a call until the test releases it. */
export function holding(then: Behaviour = (_, exchange) => exchange.succeed()): {
  behaviour: Behaviour
  /** Resolves when the call has arrived. */
  reached(): Promise<FakeCall>
  release(): void
} {
  const gate = Promise.withResolvers<void>()
  let held: FakeCall | undefined
  return {
    behaviour: async (call, exchange) => {
      held = call
      await gate.promise
      await then(call, exchange)
    },
    reached: () =>
      eventually(() => {
        if (held === undefined) throw new Error('no call has come')
        return held
      }),
    release: () => gate.resolve(),
  }
}

const succeedAlways: Behaviour = (_, exchange) => exchange.succeed()

async function readCall(req: IncomingMessage): Promise<FakeCall> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return {
    method: req.method ?? '',
    path: req.url ?? '',
    headers: req.headers,
    body: Buffer.concat(chunks).toString(),
    at: Date.now(),
  }
}

function createExchange(
  res: ServerResponse,
  succeed: () => ReturnType<FakeServerOptions['succeed']>,
): Exchange {
  const answer: Exchange['answer'] = (status, body, headers = {}) => {
    res.writeHead(status, { 'content-type': 'application/json', ...headers })
    res.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
  return {
    answer,
    succeed: async () => {
      const { status, body } = await succeed()
      answer(status, body)
    },
    cut: () => {
      res.socket?.destroy()
    },
    cutAnswer: () => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
      res.write('{"messages":[{"id":"wamid.', () => res.socket?.destroy())
    },
  }
}
