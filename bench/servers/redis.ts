/** A Redis of its own for each measurement, set up as in production: every write is on disk before it is answered. */
import path from 'node:path'
import { findRedisServer } from '../../test/support/find-redis-server.ts'
import { launchRedisServer } from '../../test/support/redis-server.ts'

export type BenchRedis = { url: string; pid: number; stop(): Promise<void> }

/** Contenders that keep every job they ever had must not run into the limit. */
const SETTINGS = ['--maxmemory', '4gb']

export async function startRedis(directory: string): Promise<BenchRedis> {
  const program = findRedisServer()
  if (program === undefined)
    throw new Error(
      'no redis-server or valkey-server on PATH: install one, or leave out redis, bullmq-noop and bullmq-plain with --contenders',
    )
  return launchRedisServer({ program, directory: path.join(directory, 'redis'), args: SETTINGS })
}
