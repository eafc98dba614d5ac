import type { QueueBackend } from '../src/queue/backend.ts'
import { openPostgresBackend } from '../src/queue/postgres-backend.ts'
import { openRedisBackend } from '../src/queue/redis-backend.ts'
import type { World } from './world/world.ts'

/** The queue of a world, past the relays. To be closed before its store is. */
export function openQueueBackend({ redis, postgres }: World): QueueBackend {
  const onError = () => {}
  return redis === undefined
    ? openPostgresBackend({ databaseUrl: postgres.url, onError })
    : openRedisBackend({ redis: { url: redis.url, clusterNodes: [], sentinels: [] }, onError })
}

export async function withQueueBackend<T>(
  world: World,
  use: (backend: QueueBackend) => Promise<T>,
): Promise<T> {
  const backend = openQueueBackend(world)
  try {
    return await use(backend)
  } finally {
    await backend.close()
  }
}
