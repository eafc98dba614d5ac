/** A Redis server of a scenario's own, set up as in production, and what can happen to it. */
import type { Redis } from 'ioredis'
import { findRedisServer } from '../../test/support/find-redis-server.ts'
import { launchRedisServer, type RedisServer, withRedis } from '../../test/support/redis-server.ts'
import { takePort } from './ports.ts'

export type RedisStore = {
  url: string
  pid(): number
  /** SIGKILL, and started again on its files. Resolves when it answers, after at least `awayMs`. */
  kill(awayMs?: number): Promise<void>
  /** SIGKILL, and not started again. */
  end(): Promise<void>
  start(directory?: string): Promise<void>
  /** SIGSTOP: connections stay, nothing is answered. */
  freeze(): void
  thaw(): void
  use<T>(work: (redis: Redis) => Promise<T>): Promise<T>
  /** Writes ballast until this share of `maxmemory` is used; 1: until it refuses. */
  fill(share: number): Promise<void>
  /** Where the policy lets it delete keys: writes a little more than there is room for. Gives the number of keys deleted. */
  overfill(): Promise<number>
  removeBallast(): Promise<void>
  memoryBytes(): Promise<number>
  close(): Promise<void>
}

export type RedisStoreOptions = {
  directory: string
  /** Settings that differ from production's, as redis-server takes them. */
  args?: readonly string[]
}

const BALLAST_BYTES = 100_000
const BALLAST = 'ballast:'
const OVERFILL_KEYS = 12

export async function startRedisStore({ directory, args = [] }: RedisStoreOptions): Promise<RedisStore> {
  const program = findRedisServer()
  if (program === undefined) {
    throw new Error('no redis-server: install redis-server or valkey-server, or run with --backend postgres')
  }
  const port = await takePort()
  let files = directory
  let server: RedisServer = await launch()

  function launch(): Promise<RedisServer> {
    return launchRedisServer({ program: program ?? '', directory: files, port, args })
  }

  const store: RedisStore = {
    url: server.url,
    pid: () => server.pid,
    async kill(awayMs = 0) {
      await store.end()
      await new Promise((resolve) => setTimeout(resolve, awayMs))
      await store.start()
    },
    async end() {
      server.kill('SIGKILL')
      await server.ended
    },
    async start(newDirectory = files) {
      files = newDirectory
      server = await launch()
    },
    freeze: () => server.kill('SIGSTOP'),
    thaw: () => server.kill('SIGCONT'),
    use: (work) => withRedis(server.url, work),
    fill: (share) => withRedis(server.url, (redis) => fill(redis, share)),
    overfill: () => withRedis(server.url, overfill),
    removeBallast: () => withRedis(server.url, removeBallast),
    memoryBytes: () =>
      withRedis(server.url, async (redis) => infoField(await redis.info('memory'), 'used_memory')),
    async close() {
      server.kill('SIGKILL')
      await server.ended
    },
  }
  return store
}

async function fill(redis: Redis, share: number): Promise<void> {
  for (let number = 0; ; number++) {
    const info = await redis.info('memory')
    if (share < 1 && infoField(info, 'used_memory') >= share * infoField(info, 'maxmemory')) return
    try {
      await redis.set(`${BALLAST}${number}`, 'x'.repeat(BALLAST_BYTES))
    } catch (err) {
      if (isFull(err)) return
      throw err
    }
  }
}

async function overfill(redis: Redis): Promise<number> {
  for (let number = 0; number < OVERFILL_KEYS; number++) {
    await redis.set(`${BALLAST}over:${number}`, 'x'.repeat(BALLAST_BYTES))
  }
  return infoField(await redis.info('stats'), 'evicted_keys')
}

/** SCAN and UNLINK work in a full Redis; they need no memory. */
async function removeBallast(redis: Redis): Promise<void> {
  let cursor = '0'
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', `${BALLAST}*`, 'COUNT', 1_000)
    if (keys.length > 0) await redis.unlink(...keys)
    cursor = next
  } while (cursor !== '0')
}

function isFull(err: unknown): boolean {
  return err instanceof Error && err.message.startsWith('OOM')
}

function infoField(info: string, name: string): number {
  return Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
}
