/** A TCP proxy that can refuse, cut or hold back: the network's faults, for any server. */

import type { AddressInfo } from 'node:net'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { cleanUp } from './clean-up.ts'

export type TcpProxy = {
  /** The given URL with the proxy's host and port. */
  url: string
  /** Cuts every connection and refuses new ones. */
  takeDown(): Promise<void>
  bringUp(): Promise<void>
  /** Accepts and keeps connections, and lets nothing through in either direction: a frozen or half-open peer. */
  freeze(): void
  thaw(): void
}

/** Closed when the test (or the file) is over. */
export async function startTcpProxy(targetUrl: string): Promise<TcpProxy> {
  const target = new URL(targetUrl)
  const pairs = new Set<[Socket, Socket]>()
  let isFrozen = false

  const server = createServer((client) => {
    const upstream = createConnection({ host: target.hostname, port: Number(target.port) })
    const pair: [Socket, Socket] = [client, upstream]
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      for (const socket of pair) socket.destroy()
    }
    for (const socket of pair) socket.on('error', end).on('close', end)
    if (!isFrozen) connect(pair)
  })

  await listen(server, 0)
  const port = (server.address() as AddressInfo).port
  const url = new URL(targetUrl)
  url.hostname = '127.0.0.1'
  url.port = String(port)

  const takeDown = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const pair of pairs) for (const socket of pair) socket.destroy()
    await closed
  }
  cleanUp(takeDown)
  return {
    url: url.href,
    takeDown,
    bringUp: async () => {
      if (!server.listening) await listen(server, port)
    },
    freeze: () => {
      isFrozen = true
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream).pause()
        upstream.unpipe(client).pause()
      }
    },
    thaw: () => {
      isFrozen = false
      for (const pair of pairs) connect(pair)
    },
  }
}

function connect([client, upstream]: [Socket, Socket]): void {
  client.pipe(upstream)
  upstream.pipe(client)
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
}
