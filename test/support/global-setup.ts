/**
 * The servers that all test files share: one PostgreSQL with a migrated template database, and one Redis where it can
 * be had. Both are tethered to this process, so nothing keeps running when the run is interrupted or killed.
 */
import { chmodSync, lstatSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestProject } from 'vitest/node'
import { startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { isAlive } from '../../src/local/postmaster.ts'
import { findRedisServer } from './find-redis-server.ts'
import type { TemplateState } from './recycled-database.ts'
import { launchRedisServer, withRedis } from './redis-server.ts'
import { createTemplateDatabase } from './template-database.ts'
import { openTemporaryFolder } from './temporary-folder.ts'

const TEMPORARY = /^wa-ingest-test-run-(\d+)-/

type Server = { url: string; stop(): Promise<void> }

/** Nothing in these servers has to survive a crash; tests of durability start servers of their own. */
const POSTGRES_SETTINGS = {
  max_connections: '400',
  fsync: 'off',
  full_page_writes: 'off',
  max_wal_size: '1GB',
}
const REDIS_SETTINGS = ['--appendonly', 'no']

declare module 'vitest' {
  export interface ProvidedContext {
    /** As superuser. */
    postgresUrl: string
    templateState: TemplateState
    /** Null where no Redis can be had. */
    redisUrl: string | null
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  removeLeftBehind()
  const directory = mkdtempSync(path.join(tmpdir(), `wa-ingest-test-run-${process.pid}-`))
  // The user that PostgreSQL runs as where we are root has to get in.
  chmodSync(directory, 0o755)
  // An interrupted run ends without its tear-down.
  process.once('exit', () => removeRun(directory))
  const servers: Server[] = []
  const temporary = openTemporaryFolder(path.join(directory, 'tmp'))
  const tearDown = async () => {
    await Promise.all(servers.map((server) => server.stop()))
    try {
      const files = await temporary.expectNoProcessLeft()
      if (files.length > 0) process.stderr.write(`\n  Tests have left files behind: ${files.join(', ')}\n\n`)
    } finally {
      temporary.close()
      removeRun(directory)
    }
  }
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: directory, settings: POSTGRES_SETTINGS })
    servers.push(postgres)
    project.provide('templateState', await createTemplateDatabase(postgres.url))
    const redis = await startRedis(directory)
    if (redis) servers.push(redis)
    project.provide('postgresUrl', postgres.url)
    project.provide('redisUrl', redis?.url ?? null)
    return tearDown
  } catch (err) {
    await tearDown()
    throw err
  }
}

async function startRedis(directory: string): Promise<Server | undefined> {
  const given = process.env.REDIS_URL
  if (given) {
    await withRedis(given, (redis) => redis.ping())
    return { url: given, stop: () => Promise.resolve() }
  }
  const program = findRedisServer()
  if (program)
    return launchRedisServer({ program, directory: path.join(directory, 'redis'), args: REDIS_SETTINGS })
  process.stderr.write(
    '\n  NO REDIS: every suite that needs it is SKIPPED. Install redis-server or valkey-server, or set REDIS_URL.\n\n',
  )
  return undefined
}

/** The files of runs that were killed; our own ones alone, because anybody may make a directory of such a name. */
function removeLeftBehind(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = TEMPORARY.exec(name)?.[1]
    if (!pid || isAlive(Number(pid))) continue
    const directory = path.join(tmpdir(), name)
    const stat = lstatSync(directory, { throwIfNoEntry: false })
    if (stat?.isDirectory() && stat.uid === process.getuid?.()) removeRun(directory)
  }
}

function removeRun(directory: string): void {
  try {
    // A link to another place where the user of PostgreSQL cannot enter this one.
    rmSync(realpathSync(path.join(directory, 'postgres')), { recursive: true, force: true })
  } catch {
    // Nothing was made yet.
  }
  rmSync(directory, { recursive: true, force: true })
}
