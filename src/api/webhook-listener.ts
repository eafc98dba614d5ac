/**
 * The addresses that providers post to: bytes in, answer out.
 *
 * They are answered before Express sees the request, because its routing and body parsing cost the receiver more than
 * everything else that it does for a webhook (docs/benchmarks.md); all other requests go on to the app.
 *
 * The body is read as bytes, whatever its type says, because the signature is over the bytes. A compressed body is
 * refused (415): no provider sends one, and inflating it would let a small request fill the memory.
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
/** The rest of such a body is not read, so the connection cannot be used again. */
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
/** Enough for a few megabytes of somebody who is not slow on purpose. */
const LINGER_MS = 2_000
const DEFECT: Problem = { status: 500, detail: 'Internal error.' }

export type WebhookListenerDeps = {
  providers: readonly Provider[]
  receiveWebhook: ReceiveWebhook
  log: Pick<Log, 'error'>
  budget?: BodyBudget
  /** Everything that is not a webhook. */
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
    const problem = problemOfHead(req)
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
 * Closing a connection on which the client still sends takes the answer away from him, so what comes is thrown away for a
 * moment before it is closed.
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

/** Without query, in lower case and without a slash at its end: as Express compares paths. */
function pathOf(url = ''): string {
  const end = url.indexOf('?')
  const path = end === -1 ? url : url.slice(0, end)
  return (path.endsWith('/') ? path.slice(0, -1) : path).toLowerCase()
}

/** Why a body is refused before anything of it is read. */
function problemOfHead(req: IncomingMessage): Problem | undefined {
  const { 'content-encoding': encoding = 'identity', 'content-length': length = '0' } = req.headers
  if (encoding.toLowerCase() !== 'identity') return COMPRESSED
  return Number(length) > MAX_BODY_BYTES ? TOO_LARGE : undefined
}

/** A body in chunks may be of any length. */
function announcedBytes({ headers }: IncomingMessage): number {
  return Number(headers['content-length'] ?? Number.POSITIVE_INFINITY)
}

/** The whole body, or why it is refused; undefined when the client has gone before its end. */
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
