/**
 * Closes connections to a server that sends nothing any more.
 *
 * A connection whose server vanished without closing it (a machine without power, a firewall that forgot it) looks like one
 * with a slow query. The driver's `query_timeout` rejects the query but keeps the connection: the ROLLBACK after it waits as
 * long again, and then the pool gives the same connection to the next query (measured with pg 8.23). So the socket itself
 * is closed, and the idle connections of the pool with it, because connections to one server break together.
 */
import { Socket } from 'node:net'
import { Client, type Pool, type PoolClient } from 'pg'

/** Nothing came from the server for too long: it is away, or the statement takes too long. */
export class SilentServerError extends Error {
  override name = 'SilentServerError'
  code = 'ETIMEDOUT'
}

/** Closes a connection in use when the server has sent nothing for `silenceMs`. The query fails with SilentServerError. */
export function giveUpSilentServer(pool: Pool, silenceMs: number): void {
  pool.on('connect', (client) => {
    const socket = socketOf(client)
    socket?.on('timeout', () => {
      socket.destroy(new SilentServerError(`PostgreSQL has said nothing for ${silenceMs} ms`))
      closeIdleConnections(pool).catch(() => {})
    })
  })
  pool.on('acquire', (client) => socketOf(client)?.setTimeout(silenceMs))
  pool.on('release', (_err, client) => socketOf(client)?.setTimeout(0))
}

/** Takes all idle connections at once, so that no query gets one of them in between. */
export async function closeIdleConnections(pool: Pool): Promise<void> {
  const idle = Array.from({ length: pool.idleCount }, () => pool.connect())
  await Promise.all(idle.map(async (client) => (await client).release(true)))
}

function socketOf(client: PoolClient): Socket | undefined {
  const stream = client instanceof Client ? client.connection.stream : undefined
  return stream instanceof Socket ? stream : undefined
}
