/**
 * Giving up a server that says nothing any more.
 *
 * A connection whose other side is gone without a word (a machine without power, a firewall that forgot it) looks like one
 * whose query takes long. The driver's `query_timeout` rejects the query and keeps the connection: the ROLLBACK behind it
 * waits as long again, and after that the pool hands the same connection to the next query (measured with pg 8.23). So
 * the socket itself is closed; and since connections die together, the idle ones of the pool go with it.
 */
import { Socket } from 'node:net'
import { Client, type Pool, type PoolClient } from 'pg'

/** For as long as somebody uses a connection, it may be silent for `silenceMs` at a time. */
export function giveUpSilentServer(pool: Pool, silenceMs: number): void {
  pool.on('connect', (client) => {
    const socket = socketOf(client)
    socket?.on('timeout', () => {
      const message = `PostgreSQL has said nothing for ${silenceMs} ms`
      socket.destroy(Object.assign(new Error(message), { code: 'ETIMEDOUT' }))
      closeIdleConnections(pool).catch(() => {})
    })
  })
  pool.on('acquire', (client) => socketOf(client)?.setTimeout(silenceMs))
  pool.on('release', (_err, client) => socketOf(client)?.setTimeout(0))
}

/** Asked for all at once: whoever asks next would otherwise get one of them in between. */
export async function closeIdleConnections(pool: Pool): Promise<void> {
  const idle = Array.from({ length: pool.idleCount }, () => pool.connect())
  await Promise.all(idle.map(async (client) => (await client).release(true)))
}

function socketOf(client: PoolClient): Socket | undefined {
  const stream = client instanceof Client ? client.connection.stream : undefined
  return stream instanceof Socket ? stream : undefined
}
