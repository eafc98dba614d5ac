/**
 * A TCP relay for any server that simulates faults of the network: refused, cut, frozen or silently severed
 * connections.
 */
import type { AddressInfo } from 'node:net'
import { createConnection, createServer, type Server, type Socket } from 'node:net'

export type TcpRelay = {
  /** The given URL with the relay's host and port. */
  url: string
  /** Cuts every connection and refuses new ones. */
  takeDown(): Promise<void>
  bringUp(): Promise<void>
  /** Keeps and accepts connections, and passes no bytes in either direction: a frozen or half-open peer. */
  freeze(): void
  thaw(): void
  /**
   * Current connections get nothing from the other side any more, not even its close; new connections work. This
   * happens when a firewall drops its state, or a machine loses its power.
   */
  sever(): void
  /** Closes both sides of the severed connections. */
  cutSevered(): void
  /** From now on new connections go to this server. */
  redirect(targetUrl: string): void
  close(): Promise<void>
}

type Pair = { client: Socket; upstream: Socket; isSevered: boolean }

/** Listens on 127.0.0.1, on a free port unless one is given. */
export async function openTcpRelay(targetUrl: string, ownPort = 0): Promise<TcpRelay> {
  let target = new URL(targetUrl)
  const pairs = new Set<Pair>()
  let isFrozen = false

  const server = createServer((client) => {
    const upstream = createConnection({ host: target.hostname, port: Number(target.port) })
    const pair: Pair = { client, upstream, isSevered: false }
    pairs.add(pair)
    const end = () => {
      if (pair.isSevered) return
      pairs.delete(pair)
      destroy(pair)
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    if (!isFrozen) connect(pair)
  })

  await listen(server, ownPort)
  const { port } = server.address() as AddressInfo
  const url = new URL(targetUrl)
  url.hostname = '127.0.0.1'
  url.port = String(port)

  const takeDown = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    for (const pair of pairs) destroy(pair)
    pairs.clear()
    await closed
  }
  return {
    url: url.href,
    takeDown,
    bringUp: async () => {
      if (!server.listening) await listen(server, port)
    },
    freeze: () => {
      isFrozen = true
      for (const pair of pairs) hold(pair)
    },
    thaw: () => {
      // A second pipe would send every byte twice.
      if (!isFrozen) return
      isFrozen = false
      for (const pair of pairs) if (!pair.isSevered) connect(pair)
    },
    sever: () => {
      for (const pair of pairs) {
        pair.isSevered = true
        hold(pair)
      }
    },
    cutSevered: () => {
      for (const pair of [...pairs].filter(({ isSevered }) => isSevered)) {
        pairs.delete(pair)
        destroy(pair)
      }
    },
    redirect: (newTargetUrl) => {
      target = new URL(newTargetUrl)
    },
    close: takeDown,
  }
}

function connect({ client, upstream }: Pair): void {
  client.pipe(upstream)
  upstream.pipe(client)
}

function hold({ client, upstream }: Pair): void {
  client.unpipe(upstream).pause()
  upstream.unpipe(client).pause()
}

function destroy({ client, upstream }: Pair): void {
  client.destroy()
  upstream.destroy()
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
