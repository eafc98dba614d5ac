/**
 * The embedded PostgreSQL: a server in DATA_DIR/postgres, for machines that have none.
 *
 * One process owns it at a time, and the server runs only as long as that process. A server that an earlier process left
 * behind is stopped and a new one started, so that the server in use is always a child of this process, with its settings,
 * its log and its tether.
 */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { type FileLock, lockFile } from './file-lock.ts'
import { connectionUrl, openCluster, readConnection } from './postgres-cluster.ts'
import { prepareHome } from './postgres-home.ts'
import { findPostgresPackage } from './postgres-package.ts'
import { startPostgresServer } from './postgres-server.ts'
import { findRunningPostmaster, stopPostmaster } from './postmaster.ts'

/** Small, because the machine does other work too. Written to postgresql.conf, where the operator may change them. */
const INITIAL_SETTINGS = {
  max_connections: '100',
  shared_buffers: '64MB',
  max_wal_size: '256MB',
  log_line_prefix: '%m [%p] ',
  log_checkpoints: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
}

export type EmbeddedPostgres = {
  url: string
  /** Stops the server in under 3 s. May be called more than once. */
  stop(): Promise<void>
}

export type EmbeddedPostgresOptions = {
  dataDir: string
  /** Called with what the operator should know: data outside DATA_DIR, a server left behind, a slow start. */
  onLog?: (line: string) => void
  /** Settings of postgresql.conf for a new data directory, in place of the initial ones. */
  settings?: Readonly<Record<string, string>>
}

/**
 * Starts the server on the data of the last start, or on new data. The URL contains the password; its port may change from
 * start to start.
 * @throws Error of one line with the next step: the data is in use by another process, was made by another version, or
 * cannot be used by this user.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { onLog = () => {} } = options
  const dataDir = path.resolve(options.dataDir)
  const postgres = findPostgresPackage()
  const locks: FileLock[] = []
  const releaseLocks = () => {
    for (const lock of locks) lock.release()
  }
  try {
    makeDirectory(dataDir)
    locks.push(takeLock(path.join(dataDir, 'postgres.lock'), dataDir))
    const home = prepareHome(dataDir, postgres, onLog)
    // The data directories of a clone and of its copy may link to the same home.
    locks.push(takeLock(path.join(home.directory, 'home.lock'), dataDir))
    await stopLeftBehind(home.data, onLog)
    const settings = { ...INITIAL_SETTINGS, ...options.settings }
    const connection = await openCluster(home, postgres.major, settings)
    const server = await startPostgresServer(home, connection, onLog)

    let stopping: Promise<void> | undefined
    return {
      url: connectionUrl({ ...connection, port: server.port }),
      stop() {
        stopping ??= server.stop().finally(releaseLocks)
        return stopping
      },
    }
  } catch (err) {
    releaseLocks()
    throw err
  }
}

/** The URL of the server that another process runs on this data directory; undefined where none is ready. */
export function findEmbeddedPostgresUrl(dataDir: string): string | undefined {
  const home = path.resolve(dataDir, 'postgres')
  const postmaster = findRunningPostmaster(path.join(home, 'data'))
  const connection = readConnection(home)
  if (!postmaster?.isReady || !connection) return undefined
  return connectionUrl({ ...connection, port: postmaster.port })
}

/**
 * Uses the server that runs on this data directory, or starts one: for commands that work whether or not the service is
 * running. `stop` stops only a server that was started here.
 */
export async function openEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const url = findEmbeddedPostgresUrl(options.dataDir)
  return url ? { url, stop: () => Promise.resolve() } : startEmbeddedPostgres(options)
}

function makeDirectory(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true })
  } catch (err) {
    const reason = err instanceof Error ? err.message : String(err)
    throw new Error(`The data directory ${dataDir} cannot be made (${reason}): set DATA_DIR to another one`, {
      cause: err,
    })
  }
}

function takeLock(file: string, dataDir: string): FileLock {
  const lock = lockFile(file)
  if (lock) return lock
  throw new Error(
    `The embedded PostgreSQL in ${dataDir} is in use by another running wa-ingest: stop that one, or set DATA_DIR to another directory`,
  )
}

/** This process has the lock, so the process that owned a server on this data is gone. */
async function stopLeftBehind(data: string, onLog: (line: string) => void): Promise<void> {
  const postmaster = findRunningPostmaster(data)
  if (!postmaster) return
  onLog(`stopping the PostgreSQL (process ${postmaster.pid}) that an earlier run has left behind`)
  await stopPostmaster(postmaster.pid)
}
