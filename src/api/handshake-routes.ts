/** GET on the addresses that providers post to: how a provider makes sure that the address is ours. */
import { Router } from 'express'
import type { Provider } from '../providers/provider.ts'
import { sendProblem } from './problem.ts'
import { webhookPath } from './webhook-listener.ts'

export function createHandshakeRoutes(providers: readonly Pick<Provider, 'name' | 'handshake'>[]): Router {
  const router = Router()
  for (const { name, handshake } of providers) {
    if (handshake === undefined) continue
    router.get(webhookPath(name), (req, res) => {
      const answer = handshake.answer(req.query)
      if (answer === undefined) sendProblem(res, { status: 403, detail: handshake.refusal })
      else res.status(200).type('text/plain').send(answer)
    })
  }
  return router
}
