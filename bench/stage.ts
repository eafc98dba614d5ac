/** Everything that one measurement needs, running: database, Redis, the contender's processes, and how to look at them. */
import { Redis } from 'ioredis'
import { withClient } from '../rig/with-client.ts'
import { createDatabase, createPool } from '../src/db/connect.ts'
import type { ReleaseStack } from '../src/lifecycle/release-stack.ts'
import { type RunningContender, startContender } from './contender-processes.ts'
import type { Contender } from './contenders.ts'
import type { Loader } from './load/loader.ts'
import type { Stretch } from './load/prepared-load.ts'
import {
  COMPLETE_WITH_ANSWER,
  type Completion,
  completionInJobs,
  completionInRows,
} from './measure/completion.ts'
import type { Processes } from './measure/resources.ts'
import { createServerStatistics, type ServerStatistics } from './measure/server-statistics.ts'
import type { BenchPostgres } from './servers/postgres.ts'
import { startRedis } from './servers/redis.ts'
import { fillSentMessages } from './servers/sent-messages.ts'
import type { Templates } from './servers/templates.ts'
import type { Settings } from './settings.ts'
import type { Workload } from './workloads.ts'

export type StageDeps = {
  settings: Settings
  postgres: BenchPostgres
  templates: Templates
  loader: Loader
  /** Empty; for this measurement alone. */
  directory: string
  /** Of the database of this measurement; nobody else uses it. */
  databaseName: string
  appSecret: string
  /** Aborts when the run is given up. */
  signal: AbortSignal
  /** Hears what is being done. */
  onPhase(phase: string): void
}

export type Order = {
  contender: Contender
  workload: Workload
  /** Parts of the files that the loader has read. */
  load: { warmUp: Stretch; main: Stretch; paced: Stretch | undefined }
  /** Webhooks per second of what is paced; undefined: nothing can be. */
  rate: number | undefined
}

export type Stage = StageDeps &
  Order & {
    running: RunningContender
    processes: Processes
    /** Process ids of our own connections to PostgreSQL. */
    observers: ReadonlySet<number>
    completion: Completion
    /** With --profile. */
    statistics: ServerStatistics | undefined
  }

/** What it opens goes into `releases`. */
export async function setStage(deps: StageDeps, order: Order, releases: ReleaseStack): Promise<Stage> {
  const { postgres, settings, directory, appSecret } = deps
  const { contender } = order
  const databaseUrl = postgres.urlOf(await openDatabase(deps, order, releases))
  await contender.prepare?.(databaseUrl)
  await fillBefore(databaseUrl, order)
  const redis = contender.usesRedis ? await startRedis(directory) : undefined
  if (redis !== undefined) releases.add('redis', () => redis.stop())
  const running = await startContender({
    contender,
    databaseUrl,
    redisUrl: redis?.url,
    dataDir: directory,
    appSecret,
    env: settings.env,
    profileDir: settings.profileDir,
    profileName: profileNameOf(order),
  })
  releases.add('processes', () => running.stop())
  const rows = await observeRows(databaseUrl, deps.signal, releases)
  return {
    ...deps,
    ...order,
    running,
    processes: {
      receiver: running.receiver.pid,
      ...(running.worker === undefined ? {} : { worker: running.worker.pid }),
      ...(redis === undefined ? {} : { redis: redis.pid }),
      ...(postgres.pid === undefined || !contender.usesPostgres ? {} : { postgres: postgres.pid }),
    },
    observers: new Set([rows.pid]),
    completion: contender.stores
      ? rows.completion
      : observeJobs(deps, order, running, redis && connectRedis(redis.url, releases)),
    statistics:
      settings.profileDir === undefined
        ? undefined
        : createServerStatistics({
            databaseUrl,
            redisUrl: redis?.url,
            directory: settings.profileDir,
            name: profileNameOf(order),
          }),
  }
}

function profileNameOf({ contender, workload }: Order): string {
  return `${workload.name}-${contender.name}`
}

async function openDatabase(
  { templates, postgres, databaseName }: StageDeps,
  { contender, workload }: Order,
  releases: ReleaseStack,
): Promise<string> {
  if (workload.isLargeTable) return templates.openLarge(contender.tables)
  await templates.create(databaseName, contender.tables)
  releases.add('database', () => postgres.dropDatabase(databaseName))
  return databaseName
}

async function fillBefore(databaseUrl: string, { contender, load }: Order): Promise<void> {
  const ids = [load.warmUp, load.main].flatMap((stretch) => stretch.sentMessageIds())
  if (ids.length === 0) return
  await withClient(databaseUrl, (client) => fillSentMessages(client, contender.tables, ids))
}

async function observeRows(
  databaseUrl: string,
  signal: AbortSignal,
  releases: ReleaseStack,
): Promise<{ pid: number; completion: Completion }> {
  const pool = createPool({ url: databaseUrl, applicationName: 'bench', max: 1, idleTimeoutMs: 0 })
  const db = createDatabase(pool)
  releases.add('database connection', () => db.destroy())
  const { rows } = await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  return { pid: rows[0]?.pid ?? 0, completion: completionInRows(db, signal) }
}

/** The worker says how many jobs it did when it ends; those of the warm-up are among them. */
function observeJobs(
  { signal }: StageDeps,
  order: Order,
  running: RunningContender,
  redis: Redis | undefined,
): Completion {
  if (redis === undefined) return COMPLETE_WITH_ANSWER
  const { warmUp } = order.load
  const warmUpJobs = warmUp.acknowledged({ sent: warmUp.to - warmUp.from, refused: [] }).count
  return completionInJobs(redis, signal, async () => {
    await running.stop()
    return Number(/^done (\d+)$/m.exec(running.worker?.stdout ?? '')?.[1] ?? 0) - warmUpJobs
  })
}

function connectRedis(url: string, releases: ReleaseStack): Redis {
  const redis = new Redis(url)
  redis.on('error', () => {})
  releases.add('redis connection', () => redis.disconnect())
  return redis
}
