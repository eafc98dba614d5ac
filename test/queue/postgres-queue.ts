/** The queue on a database of the test's own, and servers that stand in for it and do not work. */
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { QueueBackend, ReservedJob } from '../../src/queue/backend.ts'
import { migrateQueueSchema, openPostgresBackend } from '../../src/queue/postgres-backend.ts'
import { cleanUp } from '../support/clean-up.ts'
import { createEmptyDatabase, type TestDatabase } from '../support/postgres.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'

export type PostgresQueue = {
  database: TestDatabase
  /** Between the backend and its server. */
  relay: TcpProxy
  backend: QueueBackend
  /** Errors of its connections. */
  errors: Error[]
}

/** Connects when it is first used. */
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
  process: (job: ReservedJob) => Promise<unknown> = async () => {},
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

export type BrokenServer = { url: string; connections(): number }

/** Closes every connection at once, like a server that starts or has reached max_connections. */
export function startClosingServer(): Promise<BrokenServer> {
  return startBrokenServer((socket) => socket.destroy())
}

/** Accepts every connection and never answers. */
export function startSilentServer(): Promise<BrokenServer> {
  return startBrokenServer(() => {})
}

async function startBrokenServer(onConnection: (socket: Socket) => void): Promise<BrokenServer> {
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
