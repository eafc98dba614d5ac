/** Redis acknowledges a write that only one server has. Waiting for replicas narrows what a failover can lose. */
import { Cluster, type Redis } from 'ioredis'
import { QUEUE_PREFIX } from '../names.ts'

/** Less than the producer's own deadline, which includes adding the jobs. */
const TIMEOUT_MS = 600
const KEY = `${QUEUE_PREFIX}:replicated`

/**
 * Resolves when enough replicas have every write that this server has acknowledged up to now.
 * @throws when they do not within 600 ms, or the error of Redis or of the connection.
 */
export type WaitForReplicas = () => Promise<void>

/**
 * `client` must be the one that added the jobs. It must not repeat commands by itself: after a failover, the new primary
 * would confirm its own writes instead.
 */
export function createWaitForReplicas(client: Redis | Cluster, replicas: number): WaitForReplicas {
  // The configuration refuses the two together: a cluster client would send WAIT to any of the nodes.
  if (replicas === 0 || client instanceof Cluster) return () => Promise.resolve()
  return async () => {
    // WAIT covers the writes of its own connection only (redis.io/commands/wait). A duplicate may have been added through
    // another connection; the write here comes after it in any case. (Redis 7.0 waits for it without this write, too.)
    const replies = await client.pipeline().set(KEY, 1).wait(replicas, TIMEOUT_MS).exec()
    for (const [err] of replies ?? []) if (err !== null) throw err
    const reached = Number(replies?.[1]?.[1] ?? 0)
    if (reached < replicas) throw new Error(`${reached} of ${replicas} replicas of Redis confirm`)
  }
}
