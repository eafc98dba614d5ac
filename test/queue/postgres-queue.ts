/** The queue on a database of the test's own, and servers in its place that are of no use. */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { QueueBackend, TakenJob } from '../../src/queue/backend.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { cleanUp } from '../support/clean-up.ts'
import { createEmptyDatabase, type TestDatabase } from '../support/postgres.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'

export type PostgresQueue = {
  database: TestDatabase
  /** Between the backend and its server. */
  relay: TcpProxy
  backend: QueueBackend
  /** What went wrong with its connections. */
  errors: Error[]
}

/** Nothing is connected before it is used. */
export async function openPostgresQueue(): Promise<PostgresQueue> {
  const database = await createEmptyDatabase()
  await migrateQueueSchema(database.url)
  const relay = await startTcpProxy(database.url)
  const errors: Error[] = []
  const backend = openPostgresBackend({ databaseUrl: relay.url, onError: (err) => errors.push(err) })
  cleanUp(async () => {
    relay.redirect(database.url)
    await backend.close()
  })
  return { database, relay, backend, errors }
}

/** Runs the jobs of the queue `inbound` one by one; `ran` grows with them. */
export function consume(
  backend: QueueBackend,
  process: (job: TakenJob) => Promise<unknown> = async () => {},
): { ran: string[] } {
  const ran: string[] = []
  const consumer = backend.createInboundConsumer({
    concurrency: 1,
    process: async (job) => {
      ran.push(job.id)
      await process(job)
      return { outcome: 'stored' }
    },
    onFailed: () => {},
  })
  consumer.run()
  cleanUp(() => consumer.close())
  return { ran }
}

export type UselessServer = { url: string; connections(): number }

/** Closes every connection at once, as a server does that has no more of them or is not ready yet. */
export function startClosingServer(): Promise<UselessServer> {
  return startUselessServer((socket) => socket.destroy())
}

/** Takes every connection and says nothing. */
export function startSilentServer(): Promise<UselessServer> {
  return startUselessServer(() => {})
}

async function startUselessServer(onConnection: (socket: Socket) => void): Promise<UselessServer> {
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  return { url: `postgresql://127.0.0.1:${port}/`, connections: () => connections }
}
