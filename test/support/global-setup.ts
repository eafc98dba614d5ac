/**
 * The servers that all test files share: one PostgreSQL with a migrated template database, and one Redis where it can
 * be had. Both are tethered to this process, so nothing keeps running when the run is interrupted or killed.
 */
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
} from 'node:fs'
import { freemem, tmpdir } from 'node:os'
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
  // The databases are small and live for seconds: neither pays off.
  jit: 'off',
  autovacuum_naptime: '1h',
  // With the usual 4,096, checking the password is a quarter of what a connection costs the test.
  scram_iterations: '1',
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
  for (const parent of new Set([tmpdir(), parentOfRuns()])) removeLeftBehind(parent)
  const directory = mkdtempSync(path.join(parentOfRuns(), `wa-ingest-test-run-${process.pid}-`))
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

/**
 * Linux keeps this folder in memory: to clone a database and drop it takes 26 ms there and 42 ms on a disk, and the whole
 * suite 13 instead of 18 minutes of CPU. A run has held at most 763 MB. Containers often have 64 MB of it.
 */
const MEMORY_FOLDER = '/dev/shm'
const ROOM_FOR_A_RUN_BYTES = 4 * 2 ** 30

/** TMPDIR where somebody has chosen one, else a folder in memory with enough room, else the system's temporary folder. */
function parentOfRuns(): string {
  if (process.env.TMPDIR) return tmpdir()
  return hasRoom(MEMORY_FOLDER) ? MEMORY_FOLDER : tmpdir()
}

/** False also where programs may not be run from there: tests run a copy of PostgreSQL's. */
function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    const mount = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find((line) => line.split(' ')[1] === folder)
    const isExecutable = mount !== undefined && !mount.split(' ')[3]?.split(',').includes('noexec')
    return isExecutable && bavail * bsize > ROOM_FOR_A_RUN_BYTES && freemem() > ROOM_FOR_A_RUN_BYTES
  } catch {
    return false
  }
}

/** The files of runs that were killed; our own ones alone, because anybody may make a directory of such a name. */
function removeLeftBehind(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = TEMPORARY.exec(name)?.[1]
    if (!pid || isAlive(Number(pid))) continue
    const directory = path.join(parent, name)
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
