/** A contender that runs: its processes, with a database and a Redis of their own, and the connections that watch them. */
import { Redis } from 'ioredis'
import { createDatabase, createPool } from '../src/db/connect.ts'
import { createReleaseStack, type ReleaseStack } from '../src/lifecycle/release-stack.ts'
import { type RunningContender, startContender } from './contender-processes.ts'
import type { Contender } from './contenders.ts'
import { type Completion, completionInRows } from './measure/completion.ts'
import type { Processes } from './measure/resources.ts'
import type { BenchPostgres } from './servers/postgres.ts'
import { startRedis } from './servers/redis.ts'
import type { Templates } from './servers/templates.ts'
import type { Settings } from './settings.ts'

export type SessionDeps = {
  settings: Settings
  postgres: BenchPostgres
  templates: Templates
  /** Empty; for this session alone. */
  directory: string
  /** Of the database of this session, unless its tables are large. */
  databaseName: string
  appSecret: string
  /** Aborts when the run is given up. */
  signal: AbortSignal
  /** Begins the names of CPU profiles. */
  profileName: string
}

export type Session = {
  contender: Contender
  databaseUrl: string
  redis: { url: string; connection: Redis } | undefined
  running: RunningContender
  processes: Processes
  /** Process ids of our own connections to PostgreSQL. */
  observers: ReadonlySet<number>
  /** Whether events are stored. */
  rows: Completion
  close(): Promise<void>
}

const RELEASE_DEADLINE_MS = 60_000

/** @throws with the output of a process that does not start. */
export async function openSession(
  deps: SessionDeps,
  contender: Contender,
  { isLargeTable }: { isLargeTable: boolean },
): Promise<Session> {
  const releases = createReleaseStack({ deadlineMs: RELEASE_DEADLINE_MS })
  try {
    return await open(deps, contender, isLargeTable, releases)
  } catch (err) {
    await releases.releaseAll()
    throw err
  }
}

async function open(
  deps: SessionDeps,
  contender: Contender,
  isLargeTable: boolean,
  releases: ReleaseStack,
): Promise<Session> {
  const { postgres, templates, settings, directory, appSecret, databaseName } = deps
  if (!isLargeTable) {
    await templates.create(databaseName, contender.tables)
    releases.add('database', () => postgres.dropDatabase(databaseName))
  }
  const name = isLargeTable ? await templates.openLarge(contender.tables) : databaseName
  const databaseUrl = postgres.urlOf(name)
  await contender.prepare?.(databaseUrl)
  const server = contender.usesRedis ? await startRedis(directory) : undefined
  if (server !== undefined) releases.add('redis', () => server.stop())
  const running = await startContender({
    ...{ contender, databaseUrl, appSecret },
    redisUrl: server?.url,
    dataDir: directory,
    env: settings.env,
    profileDir: settings.profileDir,
    profileName: deps.profileName,
  })
  releases.add('processes', () => running.stop())
  const { pid, rows } = await watchRows(databaseUrl, deps.signal, releases)
  return {
    ...{ contender, databaseUrl, running, rows },
    redis: server && { url: server.url, connection: connectRedis(server.url, releases) },
    processes: {
      receiver: running.receiver.pid,
      ...(running.worker === undefined ? {} : { worker: running.worker.pid }),
      ...(server === undefined ? {} : { redis: server.pid }),
      ...(postgres.pid === undefined || !contender.usesPostgres ? {} : { postgres: postgres.pid }),
    },
    observers: new Set([pid]),
    close: () => releases.releaseAll(),
  }
}

async function watchRows(
  databaseUrl: string,
  signal: AbortSignal,
  releases: ReleaseStack,
): Promise<{ pid: number; rows: Completion }> {
  const pool = createPool({ url: databaseUrl, applicationName: 'bench', max: 1, idleTimeoutMs: 0 })
  const db = createDatabase(pool)
  releases.add('database connection', () => db.destroy())
  const { rows } = await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  return { pid: rows[0]?.pid ?? 0, rows: completionInRows(db, signal) }
}

function connectRedis(url: string, releases: ReleaseStack): Redis {
  const redis = new Redis(url)
  redis.on('error', () => {})
  releases.add('redis connection', () => redis.disconnect())
  return redis
}
