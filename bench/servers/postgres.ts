/**
 * The PostgreSQL of a run: the embedded one with data of its own, or the server of DATABASE_URL. Every measurement gets a
 * new database, a copy of a template, so that no contender finds rows of another one.
 */
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { parentOf } from '../../rig/process-times.ts'
import { signalServer } from '../../rig/signal-server.ts'
import { startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { STATEMENTS_LIBRARY } from '../measure/server-statistics.ts'

export type BenchPostgres = {
  version: string
  settings: Record<string, string>
  /** Process id of the server; undefined where it runs on another machine. */
  pid: number | undefined
  /** The URL of a database of this server. */
  urlOf(database: string): string
  createDatabase(name: string, template?: string): Promise<void>
  dropDatabase(name: string): Promise<void>
  /** Writes everything out, so that no checkpoint of an earlier measurement falls into the next one. */
  checkpoint(): Promise<void>
  /** SIGSTOP to all of its processes. @throws where that is not allowed. */
  freeze(): void
  thaw(): void
  stop(): Promise<void>
}

export type PostgresOptions = {
  /** A server that runs already; its role must be able to create databases. */
  url: string | undefined
  dataDir: string
  /** Keep statistics of statements; costs a little. */
  isProfiled: boolean
}

/** For a machine that runs nothing but the service; the same for every contender. Durable, as PostgreSQL is by default. */
const EMBEDDED_SETTINGS = {
  shared_buffers: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '15min',
  max_connections: '200',
}

const REPORTED_SETTINGS = [
  ...['fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size'],
  ...['checkpoint_timeout', 'wal_sync_method'],
]

/** @throws Error with one line where the server confirms a commit before it is on disk. */
export async function openPostgres({ url, dataDir, isProfiled }: PostgresOptions): Promise<BenchPostgres> {
  const profiling = isProfiled ? { shared_preload_libraries: STATEMENTS_LIBRARY } : {}
  const server =
    url === undefined
      ? await startEmbeddedPostgres({ dataDir, settings: { ...EMBEDDED_SETTINGS, ...profiling } })
      : { url, stop: async () => {} }
  const admin = new pg.Client(server.url)
  admin.on('error', () => {})
  await admin.connect()
  const settings = await readSettings(admin)
  const { rows } = await admin.query<{ version: string; pid: number }>(
    `SELECT current_setting('server_version') AS version, pg_backend_pid() AS pid`,
  )
  const pid = findServer(rows[0]?.pid)
  return {
    version: rows[0]?.version ?? 'unknown',
    settings,
    pid,
    urlOf: (database) => {
      const target = new URL(server.url)
      target.pathname = `/${database}`
      return target.href
    },
    createDatabase: async (name, template) => {
      await admin.query(`CREATE DATABASE ${name}${template === undefined ? '' : ` TEMPLATE ${template}`}`)
    },
    dropDatabase: async (name) => {
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    },
    checkpoint: async () => {
      // Not every role may.
      await admin.query('CHECKPOINT').catch(() => {})
    },
    freeze: () => {
      if (pid === undefined)
        throw new Error('PostgreSQL does not run on this machine, so it cannot be stopped')
      signalServer(pid, 'SIGSTOP')
    },
    thaw: () => {
      if (pid !== undefined) signalServer(pid, 'SIGCONT')
    },
    stop: async () => {
      await admin.end().catch(() => {})
      await server.stop()
    },
  }
}

async function readSettings(admin: pg.Client): Promise<Record<string, string>> {
  const { rows } = await admin.query<{ name: string; value: string }>(
    'SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1)',
    [REPORTED_SETTINGS],
  )
  const settings = Object.fromEntries(rows.map(({ name, value }) => [name, value]))
  for (const name of ['fsync', 'synchronous_commit'])
    if (settings[name] === 'off')
      throw new Error(`${name} of this PostgreSQL is off: a measurement would compare nothing; set it to on`)
  return settings
}

/** The postmaster is the parent of our backend, if that is a process of this machine. */
function findServer(backend: number | undefined): number | undefined {
  if (backend === undefined || !/^postgres/.test(commandOf(backend))) return undefined
  return parentOf(backend)
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8')
  } catch {
    return ''
  }
}
