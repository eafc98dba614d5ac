/** The API of a provider, for sends alone: answers them, or takes them and never answers. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export type ProviderApi = {
  url: string
  /** From now on calls are read and not answered. */
  hang(): void
  answer(): void
  /** Bodies of all calls that send, in the order of their arrival. */
  bodies: string[]
  close(): Promise<void>
}

/** Takes the calls of Meta and of Twilio. */
export async function startProviderApi(): Promise<ProviderApi> {
  const bodies: string[] = []
  let isHanging = false
  const server = createServer(async (req, res) => {
    const body = await text(req)
    const number = req.method === 'POST' ? bodies.push(body) : 0
    if (isHanging) return
    const isTwilio = req.url?.endsWith('/Messages.json') === true
    const hex = number.toString(16).padStart(32, '0')
    const answer = isTwilio ? { sid: `SM${hex}` } : { messages: [{ id: `wamid.sent${hex}` }] }
    res.writeHead(isTwilio ? 201 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hang: () => {
      isHanging = true
    },
    answer: () => {
      isHanging = false
    },
    bodies,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
