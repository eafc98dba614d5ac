/** Sends one webhook as Meta does, over connections that stay open. */
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { urlToHttpOptions } from 'node:url'
import { signLikeMeta } from './meta-webhook.ts'

/** What came back: the status, or the code of what went wrong before one did (ECONNREFUSED, ETIMEDOUT …). */
export type Answer = { status: number } | { error: string }

export function isAcknowledgement(answer: Answer): boolean {
  return 'status' in answer && answer.status === 200
}

export type Poster = {
  /** Never rejects. */
  post(body: Buffer): Promise<Answer>
  /** Closes the connections. Requests on their way are answered with an error. */
  close(): void
}

/** How long an answer may take. Meta publishes no limit; the known limits of other senders lie between 3 and 20 s. */
const ANSWER_TIMEOUT_MS = 10_000

export function createPoster(url: URL, appSecret: string, connections: number): Poster {
  const isTls = url.protocol === 'https:'
  const settings = { keepAlive: true, maxSockets: connections, timeout: ANSWER_TIMEOUT_MS }
  const agent = isTls ? new HttpsAgent(settings) : new HttpAgent(settings)
  const send = isTls ? httpsRequest : httpRequest
  const base: RequestOptions = { ...urlToHttpOptions(url), method: 'POST', agent }

  return {
    post(body) {
      return new Promise((resolve) => {
        const headers = {
          'content-type': 'application/json',
          'content-length': body.length,
          'user-agent': 'facebookexternalua',
          'x-hub-signature-256': signLikeMeta(body, appSecret),
        }
        const outgoing = send({ ...base, headers }, (answer) => {
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0 }))
          answer.on('error', (err) => resolve({ error: codeOf(err) }))
          answer.resume()
        })
        outgoing.on('timeout', () =>
          outgoing.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
        )
        outgoing.on('error', (err) => resolve({ error: codeOf(err) }))
        outgoing.end(body)
      })
    },
    close: () => agent.destroy(),
  }
}

/** A host with several addresses fails with all of their errors in one, which has no message of its own. */
function codeOf(err: Error & { code?: string }): string {
  return err.code ?? (err.message || err.name)
}
