/** Meta's handshake, by which it makes sure that the address of a subscription is ours. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { type Request, type Response, Router } from 'express'
import { type Problem, sendProblem } from './problem.ts'

const WRONG_TOKEN: Problem = {
  status: 403,
  detail: 'The verify token is not the one configured as META_VERIFY_TOKEN.',
}

export function createSubscriptionRoute(verifyToken: string): Router {
  const router = Router()
  router.get('/webhooks/meta', (req, res) => verifySubscription(req, res, verifyToken))
  return router
}

/** The raw challenge, as plain text, when the token is ours (Meta, create-webhook-endpoint). */
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

/** An empty secret, as where only Twilio is set up, is nobody's. */
function isEqualSecret(received: string, expected: string): boolean {
  if (expected === '') return false
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(received), digest(expected))
}
