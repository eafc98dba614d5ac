/**
 * The addresses to which the providers send webhooks.
 *
 * Webhooks are answered without Express, because its routing and body parsing cost the receiver more than all the rest
 * of the work for a webhook (docs/benchmarks.md). All other requests go to the app.
 *
 * The body is read as bytes, whatever its content type is, because the signature covers the bytes. A compressed body is
 * refused (415): no provider sends one, and a small compressed request could fill the memory.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { ProviderName } from '../core/event.ts'
import type { Acknowledgement, Provider } from '../providers/provider.ts'
import { type BodyBudget, type BodyRefusal, createBodyBudget, type GrowingBody } from './body-budget.ts'
import { type Log, type Problem, sendProblem, writeProblem } from './problem.ts'
import type { ReceiveResult, ReceiveWebhook } from './receive-webhook.ts'

/** Meta sends up to 3 MB (Meta, webhooks/overview, "Payload size"), Twilio a few KB. */
const MAX_BODY_BYTES = 4 * 1024 * 1024

const FORGED: Problem = { status: 401, detail: 'The signature is missing or wrong.' }
const UNAVAILABLE: Problem = {
  status: 503,
  detail: 'No store can confirm the webhook at the moment. Send it again later.',
  headers: { 'Retry-After': '5' },
}
const COMPRESSED: Problem = {
  status: 415,
  detail: 'The body has a content type, character set or encoding that is not supported.',
}
/** The rest of the body is not read, so the connection cannot be used again. */
const TOO_LARGE: Problem = {
  status: 413,
  detail: 'The body is too large.',
  headers: { Connection: 'close' },
}
const CROWDED: Problem = {
  status: 503,
  detail: 'Too many large bodies are being read at the moment. Send it again later.',
  headers: { 'Retry-After': '5', Connection: 'close' },
}
const REFUSALS: Record<BodyRefusal, Problem> = {
  too_large: TOO_LARGE,
  no_room: CROWDED,
  too_many_pieces: {
    status: 400,
    detail: 'The body comes in too many small pieces.',
    headers: { Connection: 'close' },
  },
}
/** Enough time for a client that is not slow on purpose to send a few megabytes. */
const LINGER_MS = 2_000
const DEFECT: Problem = { status: 500, detail: 'Internal error.' }

export type WebhookListenerDeps = {
  providers: readonly Provider[]
  receiveWebhook: ReceiveWebhook
  log: Pick<Log, 'error'>
  budget?: BodyBudget
  /** Handles every request that is no webhook. */
  next: RequestListener
}

/** The address that a provider posts to. */
export function webhookPath(provider: ProviderName): string {
  return `/webhooks/${provider}`
}

export function createWebhookListener({
  providers,
  receiveWebhook,
  log,
  budget = createBodyBudget(),
  next,
}: WebhookListenerDeps): RequestListener {
  const providerAt = new Map(providers.map((provider) => [webhookPath(provider.name), provider]))

  async function receive(provider: Provider, req: IncomingMessage, res: ServerResponse): Promise<void> {
    const problem = problemOfHeaders(req)
    if (problem !== undefined) return refuseUnread(req, res, problem)
    const body = budget.startBody(Math.min(announcedBytes(req), MAX_BODY_BYTES))
    try {
      const rawBody = await readBody(req, body)
      if (rawBody === undefined) return
      if ('status' in rawBody) return refuseUnread(req, res, rawBody)
      const { headers, url = '' } = req
      const webhook = { rawBody, headers, url, received_at: Date.now() }
      answer(res, await receiveWebhook(provider, webhook), provider.acknowledgement)
    } finally {
      body.drop()
    }
  }

  return (req, res) => {
    const provider = req.method === 'POST' ? providerAt.get(pathOf(req.url)) : undefined
    if (provider === undefined) return next(req, res)
    receive(provider, req, res).catch((err: unknown) => {
      log.error({ err, method: req.method, path: pathOf(req.url) }, 'request failed')
      if (res.headersSent) res.destroy()
      else sendProblem(res, DEFECT)
    })
  }
}

function answer(res: ServerResponse, result: ReceiveResult, { headers, body }: Acknowledgement): void {
  if (result === 'forged') sendProblem(res, FORGED)
  else if (result === 'unavailable') sendProblem(res, UNAVAILABLE)
  else res.writeHead(200, headers).end(body)
}

/**
 * Answers before the whole body was read. If the connection was closed while the client is still sending, the client
 * could not read the answer, so the rest of the body is read and dropped for up to LINGER_MS.
 */
function refuseUnread(req: IncomingMessage, res: ServerResponse, problem: Problem): void {
  const timer = setTimeout(() => res.end(), LINGER_MS)
  for (const event of ['end', 'close']) {
    req.once(event, () => {
      clearTimeout(timer)
      res.end()
    })
  }
  writeProblem(res, problem)
  req.removeAllListeners('data')
  req.resume()
}

/** The path without query and trailing slash, in lower case, as Express compares paths. */
function pathOf(url = ''): string {
  const end = url.indexOf('?')
  const path = end === -1 ? url : url.slice(0, end)
  return (path.endsWith('/') ? path.slice(0, -1) : path).toLowerCase()
}

/** The reason to refuse a request by its headers, before its body is read. */
function problemOfHeaders(req: IncomingMessage): Problem | undefined {
  const { 'content-encoding': encoding = 'identity', 'content-length': length = '0' } = req.headers
  if (encoding.toLowerCase() !== 'identity') return COMPRESSED
  return Number(length) > MAX_BODY_BYTES ? TOO_LARGE : undefined
}

/** Infinity for a body in chunks, which announces no length. */
function announcedBytes({ headers }: IncomingMessage): number {
  return Number(headers['content-length'] ?? Number.POSITIVE_INFINITY)
}

/** Resolves with the whole body, or the reason to refuse it; undefined if the client disconnected before the end. */
function readBody(req: IncomingMessage, body: GrowingBody): Promise<Buffer | Problem | undefined> {
  return new Promise((resolve) => {
    req.on('data', (piece: Buffer) => {
      const refusal = body.add(piece)
      if (refusal === undefined) return
      req.pause()
      resolve(REFUSALS[refusal])
    })
    req.on('end', () => resolve(body.bytes()))
    req.on('error', () => resolve(undefined))
    req.on('close', () => resolve(undefined))
  })
}
