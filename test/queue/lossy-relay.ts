/** A relay that loses answers: the server runs a command, and the client gets no answer. */
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { cleanUp } from '../support/clean-up.ts'

export type LossyRelay = {
  url: string
  /** Resolves when the relay has passed on a request whose answer it loses. */
  lost: Promise<void>
  /** Closes the open connections; new ones lose nothing. */
  cut(): void
}

/** From the first request that contains `text`, its connection gets no answers. Closed with the test. */
export async function openLossyRelay(targetUrl: string, text: string): Promise<LossyRelay> {
  const { hostname, port } = new URL(targetUrl)
  const clients = new Set<Socket>()
  const { promise: lost, resolve: lose } = Promise.withResolvers<void>()
  let isArmed = true

  const server = createServer((client) => {
    const upstream = createConnection({ host: hostname, port: Number(port) })
    clients.add(client)
    const end = () => {
      clients.delete(client)
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    client.on('data', (request) => {
      if (!isArmed || !request.includes(text)) return
      isArmed = false
      upstream.unpipe(client).pause()
      lose()
    })
    client.pipe(upstream)
    upstream.pipe(client)
  })

  const cut = () => {
    for (const client of clients) client.destroy()
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(() => {
    server.close()
    cut()
  })
  const url = new URL(targetUrl)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url: url.href, lost, cut }
}
