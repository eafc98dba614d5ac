/** BullMQ's PostgreSQL backend, made to outlive its connections: those that fail at first, and those that die silently. */
import { createPostgresBackend, type PostgresQueueBackend } from 'bullmq'
import { Pool } from 'pg'
import { PromptClient } from './prompt-client.ts'
import { steadyWorker } from './steady-worker.ts'

type Connection = PostgresQueueBackend['connection']

/** Gives what takes the place of `createPostgresBackend`. `onSilence`: for others whose connections may have died as well. */
export function watchBackend(onSilence: () => void): typeof createPostgresBackend {
  return (name, options, factoryOptions) => {
    const backend = createPostgresBackend(name, options, factoryOptions)
    const { connection } = backend
    forgetFailure(connection)
    forgetFailure(backend)
    listenPromptly(connection)
    dieTogether(connection, onSilence)
    const isOfWorker = factoryOptions?.withBlockingConnection === true
    if (isOfWorker) steadyWorker(backend)
    return backend
  }
}

/**
 * BullMQ connects once and keeps what came of it: a first connection that failed would fail everything for ever, and a
 * worker, which is told so at once each time that it asks, would leave the process no time for anything else.
 */
function forgetFailure(part: { waitUntilReady(): Promise<void> }): void {
  const memory = part as unknown as { readyPromise: Promise<void> | undefined }
  const waitUntilReady = part.waitUntilReady.bind(part)
  part.waitUntilReady = async () => {
    const waiting = waitUntilReady()
    const { readyPromise } = memory
    try {
      await waiting
    } catch (err) {
      // Somebody else who waited for the same may have begun anew.
      if (memory.readyPromise === readyPromise) memory.readyPromise = undefined
      throw err
    }
  }
}

/** BullMQ makes the connection on which a worker listens for jobs apart from the pool, with pg's own class. */
function listenPromptly(connection: Connection): void {
  const maker = connection as unknown as { pgModule: { Client: typeof PromptClient } }
  maker.pgModule = { Client: PromptClient }
}

/**
 * When the other side is gone without a word (a machine without power, a firewall that forgot it), each connection is found
 * dead only by the query that waits on it for nothing. A worker fetches with one query at a time, so it would wait for one
 * idle connection of its pool after the other (measured: 12 s for three). So the first one that is found takes the idle ones
 * with it.
 */
function dieTogether({ pool }: Connection, onSilence: () => void): void {
  if (!(pool instanceof Pool)) return
  pool.on('release', (err) => {
    if (!isSilence(err)) return
    closeIdleConnections(pool).catch(() => {})
    onSilence()
  })
}

/** pg's words when `query_timeout` is over. */
function isSilence(err: unknown): boolean {
  return err instanceof Error && err.message === 'Query read timeout'
}

/** Asked for all at once: whoever asks next would otherwise get one of them in between. */
async function closeIdleConnections(pool: Pool): Promise<void> {
  const idle = Array.from({ length: pool.idleCount }, () => pool.connect())
  await Promise.all(idle.map(async (client) => (await client).release(true)))
}
