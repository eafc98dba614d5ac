/**
 * The routes that providers call. Thin: bytes in, answer out.
 *
 * The body is read as bytes, whatever its type says, because the signature is over the bytes. A compressed body is
 * refused (415): no provider sends one, and inflating it would let a small request fill the memory.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import express, { type Request, type Response, Router } from 'express'
import type { ProviderName } from '../core/event.ts'
import type { Provider } from '../providers/provider.ts'
import { type Problem, sendProblem } from './problem.ts'
import type { ReceiveWebhook } from './receive-webhook.ts'

/** Meta sends up to 3 MB (Meta, webhooks/overview, "Payload size"). */
const MAX_BODY_BYTES = 4 * 1024 * 1024

const FORGED: Problem = { status: 401, detail: 'The signature is missing or wrong.' }
const UNAVAILABLE: Problem = {
  status: 503,
  detail: 'No store can confirm the webhook at the moment. Send it again later.',
  headers: { 'Retry-After': '5' },
}
const WRONG_TOKEN: Problem = {
  status: 403,
  detail: 'The verify token is not the one configured as META_VERIFY_TOKEN.',
}

export type WebhookRoutesDeps = {
  providers: Record<ProviderName, Provider>
  receiveWebhook: ReceiveWebhook
  metaVerifyToken: string
  now?: () => number
}

export function createWebhookRoutes({
  providers,
  receiveWebhook,
  metaVerifyToken,
  now = Date.now,
}: WebhookRoutesDeps): Router {
  const router = Router()
  const readBody = express.raw({ type: () => true, limit: MAX_BODY_BYTES, inflate: false })

  const receive = (provider: Provider, acknowledge: (res: Response) => void) => {
    return async (req: Request, res: Response): Promise<void> => {
      const result = await receiveWebhook(provider, {
        rawBody: Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0),
        headers: req.headers,
        url: req.originalUrl,
        received_at: now(),
      })
      if (result === 'forged') sendProblem(res, FORGED)
      else if (result === 'unavailable') sendProblem(res, UNAVAILABLE)
      else acknowledge(res)
    }
  }

  router.get('/webhooks/meta', (req, res) => verifySubscription(req, res, metaVerifyToken))
  router.post(
    '/webhooks/meta',
    readBody,
    receive(providers.meta, (res) => res.status(200).end()),
  )
  router.post(
    '/webhooks/twilio',
    readBody,
    receive(providers.twilio, (res) => res.status(200).type('text/xml').send('<Response/>')),
  )
  return router
}

/** Meta's handshake: the raw challenge, as plain text, when the token is ours (Meta, create-webhook-endpoint). */
function verifySubscription(req: Request, res: Response, verifyToken: string): void {
  const { 'hub.mode': mode, 'hub.verify_token': token, 'hub.challenge': challenge } = req.query
  const isOurs =
    mode === 'subscribe' &&
    typeof token === 'string' &&
    typeof challenge === 'string' &&
    isEqualSecret(token, verifyToken)
  if (isOurs) res.status(200).type('text/plain').send(challenge)
  else sendProblem(res, WRONG_TOKEN)
}

function isEqualSecret(received: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(received), digest(expected))
}
