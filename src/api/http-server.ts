/** An HTTP server with limits on everything that a slow or hostile client could keep open. */
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
  /** The port it listens on; with port 0, the free port that the system chose. */
  port: number
  /**
   * Accepts no new connection, answers the requests under way, and closes each connection with its answer; those that
   * are still busy at the deadline are cut off.
   */
  close(deadlineMs: number): Promise<void>
}

export type HttpLimits = {
  /** Until the end of the headers. */
  headersTimeoutMs: number
  /** Until the end of the body. */
  requestTimeoutMs: number
  /** Until the end of the body, after the handler has called `allowLongBody`. */
  longRequestTimeoutMs: number
  /** How often Node checks headersTimeoutMs and longRequestTimeoutMs. */
  checkIntervalMs: number
  /** Between an answer and the next request. */
  keepAliveTimeoutMs: number
  /** During a request or its answer, without a byte in either direction. */
  silenceTimeoutMs: number
  /** Unanswered requests on one connection; a client that sends more is disconnected. */
  maxUnanswered: number
  /** Further connections are closed at once. */
  maxConnections: number
}

const SECOND = 1000

/** Where the caller gives no others; described in docs/security.md. */
export const HTTP_LIMITS: HttpLimits = {
  headersTimeoutMs: 10 * SECOND,
  requestTimeoutMs: 30 * SECOND,
  // The largest upload at 1 Mbit/s.
  longRequestTimeoutMs: 15 * 60 * SECOND,
  checkIntervalMs: 5 * SECOND,
  // Longer than the idle time-out of usual proxies (60 s), so that they never send into a closing connection.
  keepAliveTimeoutMs: 65 * SECOND,
  // As long as usual proxies wait. A change stream sends at least a comment every 15 s.
  silenceTimeoutMs: 60 * SECOND,
  // Providers, proxies and browsers send no request before the answer to the one before.
  maxUnanswered: 32,
  // Each takes a file descriptor and may hold a small body; the connections to the stores need descriptors too.
  maxConnections: 5_000,
}
const MAX_HEADER_BYTES = 16 * 1024

/**
 * Resolves when the server listens.
 * @throws Error with a message of one line: the port is taken, or the address is not one of this machine.
 */
export async function startHttpServer(
  listener: RequestListener,
  { port, host, limits = {} }: { port: number; host: string; limits?: Partial<HttpLimits> },
): Promise<HttpServer> {
  const all = { ...HTTP_LIMITS, ...limits }
  const underWay: UnderWay = new Map()
  const server = createServer(
    {
      headersTimeout: all.headersTimeoutMs,
      requestTimeout: Math.max(all.requestTimeoutMs, all.longRequestTimeoutMs),
      connectionsCheckingInterval: all.checkIntervalMs,
      keepAliveTimeout: all.keepAliveTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      // lacksHost does this check: a request that Node refuses itself reaches no listener and no limit below.
      requireHostHeader: false,
      noDelay: true,
    },
    (req, res) => {
      underWay.set(res, req.socket)
      res.once('close', () => underWay.delete(res))
      if (isPipelined(res) && !mayWait(req.socket, res, all.maxUnanswered)) return
      if (lacksHost(req)) return void res.writeHead(400, { Connection: 'close' }).end()
      if (hasBody(req)) limitBody(req, res, all.requestTimeoutMs)
      listener(req, res)
    },
  )
  // An unknown expectation may be ignored (RFC 9110, 10.1.1). Node would answer 417 itself, past the limits above.
  server.on('checkExpectation', (req, res) => server.emit('request', req, res))
  server.timeout = all.silenceTimeoutMs
  server.on('connection', (socket: Socket) =>
    socket.once('close', () => clearTimeout(bodyTimers.get(socket))),
  )
  server.maxConnections = all.maxConnections
  await listen(server, port, host)
  return {
    port: (server.address() as AddressInfo).port,
    close: (deadlineMs) => closeServer(server, underWay, deadlineMs),
  }
}

/** The timer of the body that a connection is receiving; there is never more than one. */
const bodyTimers = new WeakMap<Socket, NodeJS.Timeout>()

/**
 * The time limit of bodies that are no files: Node has only one limit for all requests of a server. The limit ends with
 * the body and not with the answer, so a client that is refused early gets no more time.
 */
function limitBody(req: IncomingMessage, res: ServerResponse, timeoutMs: number): void {
  const timer = setTimeout(() => {
    if (!req.complete) cutOff(req.socket, res)
  }, timeoutMs)
  bodyTimers.set(req.socket, timer)
  req.once('close', () => clearTimeout(timer))
}

/** To be called by a handler that accepts large bodies, after it has checked who sends them. */
export function allowLongBody(req: IncomingMessage): void {
  if (!req.complete) clearTimeout(bodyTimers.get(req.socket))
}

/** Answers 408, unless the client would read it as part of another answer: then it only closes the connection. */
function cutOff(socket: Socket, res: ServerResponse): void {
  if (res.headersSent || isPipelined(res)) socket.destroy()
  else socket.end(TIMED_OUT, () => socket.destroy())
}

/** The answer that Node gives after its own time-outs. */
const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'

/** HTTP/1.0 has no Host header; HTTP/1.1 requires it (RFC 9112, 3.2). */
function lacksHost({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.host === undefined && httpVersion === '1.1'
}

/** Whether an earlier request on the connection has no answer yet: until then Node assigns no socket to this one. */
function isPipelined(res: ServerResponse): boolean {
  return res.socket === null
}

const pipelined = new WeakMap<Socket, number>()

/**
 * Limits the requests of a client that reads no answers: Node would accept all of them and keep their answers in
 * memory. Requests that Node had parsed before the connection was destroyed still arrive here.
 */
function mayWait(socket: Socket, res: ServerResponse, maxUnanswered: number): boolean {
  if (socket.destroyed) return false
  const waiting = (pipelined.get(socket) ?? 0) + 1
  // The first unanswered request is not counted: it was not pipelined when it arrived.
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

/** The answers that are not finished, in the order of their requests, with their connections. */
type UnderWay = Map<ServerResponse, Socket>

async function closeServer(server: Server, underWay: UnderWay, deadlineMs: number): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), deadlineMs)
  for (const res of lastAnswers(underWay)) closeWithAnswer(server, res)
  server.prependListener('request', (_req, res) => closeWithAnswer(server, res))
  await new Promise<void>((resolve) => server.close(() => resolve()))
  clearTimeout(timer)
}

/** One for each connection: the answers before it must not close the connection. */
function lastAnswers(underWay: UnderWay): Iterable<ServerResponse> {
  return new Map([...underWay].map(([res, socket]) => [socket, res])).values()
}

/** Says so in the answer, or closes the connection after an answer whose headers have been sent. */
function closeWithAnswer(server: Server, res: ServerResponse): void {
  if (res.headersSent) res.once('close', () => server.closeIdleConnections())
  else res.shouldKeepAlive = false
}
