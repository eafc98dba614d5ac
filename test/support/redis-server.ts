/** A Redis server set up as in production: on disk before it answers, nothing evicted, memory bounded. */
import { mkdirSync } from 'node:fs'
import { Redis } from 'ioredis'
import { launchProcess, type ProcessEnd } from './child-process.ts'
import { findFreePort } from './free-port.ts'

export type RedisServer = {
  url: string
  port: number
  pid: number
  ended: Promise<ProcessEnd>
  /** Stops the server as an operator would. */
  stop(): Promise<void>
  /** SIGKILL unless another is given; SIGSTOP and SIGCONT make it hang and go on. */
  kill(signal?: NodeJS.Signals): void
}

export type RedisServerOptions = {
  program: string
  /** Where the append-only file is; a later server on the same directory finds the data. */
  directory: string
  port?: number
  /** More or other settings, such as ['--maxmemory', '8mb']. */
  args?: readonly string[]
}

/** Starts the server and waits until it answers. */
export async function launchRedisServer(options: RedisServerOptions): Promise<RedisServer> {
  mkdirSync(options.directory, { recursive: true })
  const port = options.port ?? (await findFreePort())
  const settings = ['--bind', '127.0.0.1', '--port', String(port), '--dir', options.directory, '--save', '']
  settings.push('--appendonly', 'yes', '--appendfsync', 'always', '--databases', '512')
  settings.push('--maxmemory', '512mb', '--maxmemory-policy', 'noeviction')
  const server = launchProcess(options.program, [...settings, ...(options.args ?? [])])
  await server.waitForOutput(/ready to accept connections/i)
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid: server.pid,
    ended: server.ended,
    kill: server.kill,
    async stop() {
      await server.stop()
    },
  }
}

/** Uses a connection of its own and closes it. Fails at once if the server does not answer. */
export async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1, retryStrategy: () => null, lazyConnect: true })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await use(redis)
  } finally {
    redis.disconnect()
  }
}
