/** Redis confirms what one server has. Waiting for replicas narrows what a failover can lose. */
import { Cluster, type Redis } from 'ioredis'
import { QUEUE_PREFIX } from '../names.ts'

/** Less than the producer's own deadline, in which the jobs are added as well. */
const TIMEOUT_MS = 600
const KEY = `${QUEUE_PREFIX}:replicated`

/**
 * Resolves when so many replicas have everything that this server has confirmed up to now.
 * @throws when they do not within the time, or what Redis or the connection says.
 */
export type WaitForReplicas = () => Promise<void>

/** `client`: that of the jobs, and one that sends nothing again by itself, because another server would answer for its own. */
export function createWaitForReplicas(client: Redis | Cluster, replicas: number): WaitForReplicas {
  // The configuration refuses the two together: a cluster would send WAIT to any of its nodes.
  if (replicas === 0 || client instanceof Cluster) return () => Promise.resolve()
  return async () => {
    // WAIT speaks of the writes of its own connection (redis.io/commands/wait). Jobs that were there already may have come
    // over another one; what is written here comes after them in any case. (Redis 7.0 waits for them without it, too.)
    const replies = await client.pipeline().set(KEY, 1).wait(replicas, TIMEOUT_MS).exec()
    for (const [err] of replies ?? []) if (err !== null) throw err
    const reached = Number(replies?.[1]?.[1] ?? 0)
    if (reached < replicas) throw new Error(`${reached} of ${replicas} replicas of Redis confirm`)
  }
}
