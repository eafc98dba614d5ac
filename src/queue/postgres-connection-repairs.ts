/**
 * Repairs of BullMQ's PostgreSQL backend (6.7.0), so that it survives lost connections:
 *
 * - BullMQ keeps the result of its first attempt to connect: after a failure, every later call would fail for ever, and a
 *   worker would retry in a loop that leaves the process no time. The repair makes BullMQ connect again.
 * - The connection on which a worker listens for jobs is opened outside the pool, with pg's own class, and without a
 *   connect time-out. The repair makes BullMQ use `ConnectTimeoutClient`.
 * - When connections die without a word, the repair closes the idle ones of the pool as soon as one dead one is found.
 * - Workers get the repairs of postgres-worker-repairs.ts.
 */
import { createPostgresBackend, type PostgresQueueBackend } from 'bullmq'
import { Pool } from 'pg'
import { ConnectTimeoutClient } from './connect-timeout-client.ts'
import { repairPostgresWorker } from './postgres-worker-repairs.ts'

type Connection = PostgresQueueBackend['connection']

/**
 * Returns a replacement for `createPostgresBackend`. `onSilence` is called when a query on a connection gets no answer: other
 * connections to the same server may be dead as well.
 */
export function createRepairedBackends(onSilence: () => void): typeof createPostgresBackend {
  return (name, options, factoryOptions) => {
    const backend = createPostgresBackend(name, options, factoryOptions)
    const { connection } = backend
    connectAgainAfterFailure(connection)
    connectAgainAfterFailure(backend)
    limitConnectTime(connection)
    closeIdleWithDead(connection, onSilence)
    const isOfWorker = factoryOptions?.withBlockingConnection === true
    if (isOfWorker) repairPostgresWorker(backend)
    return backend
  }
}

/** Clears BullMQ's memory of the first attempt to connect when that attempt failed. */
function connectAgainAfterFailure(part: { waitUntilReady(): Promise<void> }): void {
  const memory = part as unknown as { readyPromise: Promise<void> | undefined }
  const waitUntilReady = part.waitUntilReady.bind(part)
  part.waitUntilReady = async () => {
    const waiting = waitUntilReady()
    const { readyPromise } = memory
    try {
      await waiting
    } catch (err) {
      // Another caller that waited for the same attempt may have started the next one already.
      if (memory.readyPromise === readyPromise) memory.readyPromise = undefined
      throw err
    }
  }
}

function limitConnectTime(connection: Connection): void {
  const maker = connection as unknown as { pgModule: { Client: typeof ConnectTimeoutClient } }
  maker.pgModule = { Client: ConnectTimeoutClient }
}

/**
 * When the other side is gone without a word (a machine without power, a firewall that dropped the connection), each dead
 * connection is found only by a query that waits for its time-out. A worker fetches with one query at a time, so it would
 * wait for one idle connection of its pool after another (measured: 12 s for three). So the first dead connection that is
 * found closes the idle ones.
 */
function closeIdleWithDead({ pool }: Connection, onSilence: () => void): void {
  if (!(pool instanceof Pool)) return
  pool.on('release', (err) => {
    if (!isQueryTimeout(err)) return
    closeIdleConnections(pool).catch(() => {})
    onSilence()
  })
}

/** pg's message when `query_timeout` is over. */
function isQueryTimeout(err: unknown): boolean {
  return err instanceof Error && err.message === 'Query read timeout'
}

/** Checks out all idle connections at once: otherwise a query could get one of them in between. */
async function closeIdleConnections(pool: Pool): Promise<void> {
  const idle = Array.from({ length: pool.idleCount }, () => pool.connect())
  await Promise.all(idle.map(async (client) => (await client).release(true)))
}
