/** The shared Redis: a database number for each test file (or test), so that they do not see each other's keys. */
import { describe, inject } from 'vitest'
import { cleanUp } from './clean-up.ts'
import { findRedisServer } from './find-redis-server.ts'
import { launchRedisServer, type RedisServer, type RedisServerOptions, withRedis } from './redis-server.ts'
import { createTempDirectory } from './temp-directory.ts'

const CLAIM_SECONDS = 3600

export type { RedisServer } from './redis-server.ts'
export { withRedis } from './redis-server.ts'

/** False where no Redis can be had; the run says so at its start. */
export const hasRedis: boolean = inject('redisUrl') !== null

/** `describe` for suites that need Redis; skipped where none can be had. */
export const describeWithRedis = describe.skipIf(!hasRedis)

/**
 * The URL of an empty database number that nobody else has until the test (outside of a test: the file) is over; then
 * it is flushed. Of a Redis given by REDIS_URL only empty numbers are used.
 */
export async function takeRedisUrl(): Promise<string> {
  const server = inject('redisUrl')
  if (!server) throw new Error('no Redis: guard the suite with describeWithRedis')
  const number = await withRedis(server, async (redis) => {
    const settings = await redis.config('GET', 'databases')
    const databases = Array.isArray(settings) ? Number(settings[1]) : 16
    const start = Math.floor(Math.random() * databases)
    for (let step = 0; step < databases; step += 1) {
      const candidate = (start + step) % databases
      // Database 0 holds the claims.
      if (candidate === 0) continue
      if (!(await redis.set(claimOf(candidate), process.pid, 'EX', CLAIM_SECONDS, 'NX'))) continue
      await redis.select(candidate)
      const isEmpty = (await redis.dbsize()) === 0
      await redis.select(0)
      if (isEmpty) return candidate
    }
    throw new Error('every database number of the Redis is taken')
  })
  const url = new URL(server)
  url.pathname = `/${number}`
  cleanUp(async () => {
    await withRedis(url.href, (redis) => redis.flushdb())
    await withRedis(server, (redis) => redis.del(claimOf(number)))
  })
  return url.href
}

/** A Redis server of the test's own, to stop, kill or fill. Killed when the test (or the file) is over. */
export async function startRedisServer(options: Partial<RedisServerOptions> = {}): Promise<RedisServer> {
  const program = options.program ?? findRedisServer()
  if (!program) throw new Error('no redis-server: guard the suite with describeWithRedis')
  const directory = options.directory ?? createTempDirectory()
  const server = await launchRedisServer({ ...options, program, directory })
  cleanUp(async () => {
    server.kill()
    await server.ended
  })
  return server
}

function claimOf(number: number): string {
  return `wa-ingest-test:database:${number}`
}
