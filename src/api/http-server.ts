/** An HTTP server with limits on everything that a slow or hostile client could hold on to. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
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
  keepAliveTimeoutMs: number
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
  const { headersTimeoutMs, requestTimeoutMs, longRequestTimeoutMs, ...others } = { ...LIMITS, ...limits }
  const { checkIntervalMs, keepAliveTimeoutMs, maxConnections } = others
  const server = createServer(
    {
      headersTimeout: headersTimeoutMs,
      requestTimeout: Math.max(requestTimeoutMs, longRequestTimeoutMs),
      connectionsCheckingInterval: checkIntervalMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      noDelay: true,
    },
    (req, res) => {
      if (hasBody(req)) limitBody(req, res, requestTimeoutMs)
      listener(req, res)
    },
  )
  server.maxConnections = maxConnections
  await listen(server, port, host)
  return {
    port: (server.address() as AddressInfo).port,
    close: (deadlineMs) => closeServer(server, deadlineMs),
  }
}

const bodyTimers = new WeakMap<IncomingMessage, NodeJS.Timeout>()

/** Node has one limit for all requests of a server; this is the one of those that are not for files. */
function limitBody(req: IncomingMessage, res: ServerResponse, timeoutMs: number): void {
  const timer = setTimeout(() => {
    if (!req.complete) req.socket.end(TIMED_OUT, () => req.socket.destroy())
  }, timeoutMs)
  bodyTimers.set(req, timer)
  res.once('close', () => clearTimeout(timer))
}

/** As Node answers. */
const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n'

/** For a handler that takes large bodies from those who may send them, and sees to it that something comes. */
export function allowLongBody(req: IncomingMessage): void {
  clearTimeout(bodyTimers.get(req))
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
