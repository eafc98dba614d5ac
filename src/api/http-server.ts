/** An HTTP server with limits on everything that a slow or hostile client could hold on to. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { hasBody } from './json-body.ts'

export type HttpServer = {
  /** The port that is listened on, also where any free one was asked for. */
  port: number
  /** Takes no new connection, lets running requests end, and cuts what is left at the deadline. */
  close(deadlineMs: number): Promise<void>
}

export type HttpLimits = {
  /** From the connection to the end of the headers. */
  headersTimeoutMs: number
  /** To the end of the body. */
  requestTimeoutMs: number
  /** The same, of a request whose handler has called `allowLongBody`. */
  longRequestTimeoutMs: number
  /** How often the two above are looked at. */
  checkIntervalMs: number
  /** Between an answer and the next request. */
  keepAliveTimeoutMs: number
  /** In the middle of a request or its answer, without a byte that is sent or taken. */
  silenceTimeoutMs: number
  /** Requests on one connection that wait for their answers; who sends more is disconnected. */
  maxUnanswered: number
  /** Further ones are closed at once. */
  maxConnections: number
}

const SECOND = 1000

/** A client that sends its headers or body a byte at a time, or nothing at all, is cut off. */
const LIMITS: HttpLimits = {
  headersTimeoutMs: 10 * SECOND,
  requestTimeoutMs: 30 * SECOND,
  // The largest upload at 1 Mbit/s.
  longRequestTimeoutMs: 15 * 60 * SECOND,
  checkIntervalMs: 5 * SECOND,
  // Longer than the idle time-out of usual proxies (60 s), so that they never send into a closing connection.
  keepAliveTimeoutMs: 65 * SECOND,
  // As long as usual proxies wait. A change stream says something every 15 s.
  silenceTimeoutMs: 60 * SECOND,
  // Neither providers nor proxies nor browsers send a request before they have the answer to the one before.
  maxUnanswered: 32,
  // Each holds a descriptor and may hold a small body; the connections to the stores need descriptors too.
  maxConnections: 5_000,
}
const MAX_HEADER_BYTES = 16 * 1024

/**
 * Resolves when the server listens.
 * @throws Error with one line for a taken port or an address that is not ours.
 */
export async function startHttpServer(
  listener: RequestListener,
  { port, host, limits = {} }: { port: number; host: string; limits?: Partial<HttpLimits> },
): Promise<HttpServer> {
  const all = { ...LIMITS, ...limits }
  const server = createServer(
    {
      headersTimeout: all.headersTimeoutMs,
      requestTimeout: Math.max(all.requestTimeoutMs, all.longRequestTimeoutMs),
      connectionsCheckingInterval: all.checkIntervalMs,
      keepAliveTimeout: all.keepAliveTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      // What Node refuses by itself does not come by here, and would not be counted.
      requireHostHeader: false,
      noDelay: true,
    },
    (req, res) => {
      if (isPipelined(res) && !mayWait(req.socket, res, all.maxUnanswered)) return
      if (lacksHost(req)) return void res.writeHead(400, { Connection: 'close' }).end()
      if (hasBody(req)) limitBody(req, res, all.requestTimeoutMs)
      listener(req, res)
    },
  )
  // The same: an expectation that nobody knows is not met, and may be ignored (RFC 9110, 10.1.1).
  server.on('checkExpectation', (req, res) => server.emit('request', req, res))
  server.timeout = all.silenceTimeoutMs
  server.on('connection', (socket: Socket) =>
    socket.once('close', () => clearTimeout(bodyTimers.get(socket))),
  )
  server.maxConnections = all.maxConnections
  await listen(server, port, host)
  return {
    port: (server.address() as AddressInfo).port,
    close: (deadlineMs) => closeServer(server, deadlineMs),
  }
}

/** The one of the body that is being received: on a connection there is never more than one. */
const bodyTimers = new WeakMap<Socket, NodeJS.Timeout>()

/**
 * Node has one limit for all requests of a server; this is the one of those that are not for files. It ends with the body
 * and not with the answer, which may come before: who is refused does not get longer for it.
 */
function limitBody(req: IncomingMessage, res: ServerResponse, timeoutMs: number): void {
  const timer = setTimeout(() => {
    if (!req.complete) cutOff(req.socket, res)
  }, timeoutMs)
  bodyTimers.set(req.socket, timer)
  req.once('close', () => clearTimeout(timer))
}

/** For a handler that takes large bodies from those who may send them. */
export function allowLongBody(req: IncomingMessage): void {
  if (!req.complete) clearTimeout(bodyTimers.get(req.socket))
}

/** What is said in the middle of an answer, or before it is its turn, would pass for a part of another one. */
function cutOff(socket: Socket, res: ServerResponse): void {
  if (res.headersSent || isPipelined(res)) socket.destroy()
  else socket.end(TIMED_OUT, () => socket.destroy())
}

/** As Node answers. */
const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'

/** HTTP/1.0 has none; from 1.1 on it is a must (RFC 9112, 3.2). */
function lacksHost({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.host === undefined && httpVersion === '1.1'
}

/** Behind a request on the same connection that has no answer yet: until that is out, Node gives it no socket. */
function isPipelined(res: ServerResponse): boolean {
  return res.socket === null
}

const pipelined = new WeakMap<Socket, number>()

/**
 * Node takes in requests and holds their answers for a client that does not read any. What it had parsed when the
 * connection was destroyed still comes here.
 */
function mayWait(socket: Socket, res: ServerResponse, maxUnanswered: number): boolean {
  if (socket.destroyed) return false
  const waiting = (pipelined.get(socket) ?? 0) + 1
  // The first of them was none when it came.
  if (waiting >= maxUnanswered) {
    socket.destroy()
    return false
  }
  pipelined.set(socket, waiting)
  res.once('close', () => pipelined.set(socket, (pipelined.get(socket) ?? 1) - 1))
  return true
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (err: NodeJS.ErrnoException) => reject(new Error(listenProblem(err, port, host))))
    server.listen({ port, host, backlog: 1024 }, resolve)
  })
}

function listenProblem(err: NodeJS.ErrnoException, port: number, host: string): string {
  if (err.code === 'EADDRINUSE') {
    return `port ${port} on ${host} is taken; stop what listens there, or set PORT to another one`
  }
  if (err.code === 'EACCES') return `port ${port} may not be opened by this user; set PORT to 1024 or higher`
  if (err.code === 'EADDRNOTAVAIL') return `HOST ${host} is not an address of this machine`
  return `cannot listen on ${host}:${port}: ${err.message}`
}

/** A client that sends one request after the other over the same connection is told to go with the next answer. */
async function closeServer(server: Server, deadlineMs: number): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), deadlineMs)
  server.prependListener('request', (_req, res) => {
    res.shouldKeepAlive = false
  })
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
  clearTimeout(timer)
}
