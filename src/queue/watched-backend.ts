/**
 * BullMQ's PostgreSQL backend, whose connections die together.
 *
 * When the other side is gone without a word (a machine without power, a firewall that forgot it), each connection is found
 * dead only by the query that waits on it for nothing. A worker fetches with one query at a time, so it would wait for one
 * idle connection of its pool after the other (measured: 12 s for three). So the first one that is found takes the idle ones
 * with it.
 */
import { createPostgresBackend } from 'bullmq'
import { Pool } from 'pg'

/** Gives what takes the place of `createPostgresBackend`. `onSilence`: for others whose connections may have died as well. */
export function watchBackend(onSilence: () => void): typeof createPostgresBackend {
  return (name, options, factoryOptions) => {
    const backend = createPostgresBackend(name, options, factoryOptions)
    const { pool } = backend.connection
    if (pool instanceof Pool) {
      pool.on('release', (err) => {
        if (!isSilence(err)) return
        closeIdleConnections(pool).catch(() => {})
        onSilence()
      })
    }
    return backend
  }
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
