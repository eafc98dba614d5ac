/** A PostgreSQL server of a scenario's own, and what can happen to it. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { readPostmaster } from '../../src/local/postmaster.ts'
import { copyPostgresTemplate } from './postgres-template.ts'

export type PostgresStore = {
  url: string
  /** SIGKILL to the server's first process; its others end with it. Resolves when it answers again. */
  kill(): Promise<void>
  /** Stopped in order, and started again. Resolves when it answers, after at least `awayMs`. */
  restart(awayMs: number): Promise<void>
  stop(): Promise<void>
  /** SIGKILL to all of its processes at once, and not started again. */
  crash(): Promise<void>
  /** On the files of the last start, or on others that hold the same server. */
  start(directory?: string): Promise<void>
  /** SIGSTOP to all of its processes: connections stay, nothing is answered. */
  freeze(): void
  thaw(): void
  /** Waits until a query is answered. */
  untilUp(): Promise<void>
  /** On a connection of its own, past the relay. */
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  close(): Promise<void>
}

export type PostgresStoreOptions = {
  /** Holds `postgres/`. */
  directory: string
  /** What `makePostgresTemplate` has made. */
  template: string
  settings?: Readonly<Record<string, string>>
}

const UP_TIMEOUT_MS = 60_000
const POLL_MS = 50
const CONNECT_TIMEOUT_MS = 5_000

export async function startPostgresStore(options: PostgresStoreOptions): Promise<PostgresStore> {
  let { directory } = options
  await copyPostgresTemplate(options.template, directory, options.settings ?? {})
  let server = await launch()
  const { url } = server

  function launch() {
    return startEmbeddedPostgres({ dataDir: directory })
  }

  function dataDirectory(): string {
    return path.join(directory, 'postgres', 'data')
  }

  const store: PostgresStore = {
    url,
    async kill() {
      const data = dataDirectory()
      const pid = readPostmaster(data)?.pid
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
      // The same server may answer for a moment, until its processes have noticed.
      while (pid !== undefined && readPostmaster(data)?.pid === pid) await sleep(POLL_MS)
      await store.untilUp()
    },
    async restart(awayMs) {
      await store.stop()
      await sleep(awayMs)
      await store.start()
    },
    stop: () => server.stop(),
    async crash() {
      // Asked to stop first, or its keeper would start it again.
      const stopped = server.stop()
      signalAll(dataDirectory(), 'SIGKILL')
      await stopped
    },
    async start(newDirectory = directory) {
      directory = newDirectory
      server = await launch()
      if (server.url !== url) throw new Error('PostgreSQL came back on another port: something else took it')
    },
    freeze: () => signalAll(dataDirectory(), 'SIGSTOP'),
    thaw: () => signalAll(dataDirectory(), 'SIGCONT'),
    async untilUp() {
      const deadline = performance.now() + UP_TIMEOUT_MS
      for (;;) {
        try {
          await store.query('SELECT 1')
          return
        } catch (err) {
          if (performance.now() > deadline) throw err
          await sleep(POLL_MS)
        }
      }
    },
    async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS })
      client.on('error', () => {})
      await client.connect()
      try {
        return (await client.query<Row>(text, values)).rows
      } finally {
        await client.end().catch(() => {})
      }
    },
    async close() {
      store.thaw()
      await server.stop()
    },
  }
  return store
}

/** The first process and its children, by /proc: a child of a killed server is nobody's. */
function signalAll(data: string, signal: NodeJS.Signals): void {
  const first = readPostmaster(data)?.pid
  if (first === undefined) return
  const others = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === first)
  for (const pid of [first, ...others.map(Number)]) {
    try {
      process.kill(pid, signal)
    } catch {
      // It ended in between.
    }
  }
}

function parentOf(pid: string): number | undefined {
  try {
    // The second field is the name in parentheses, which may hold anything.
    const [, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return Number(parent)
  } catch {
    return undefined
  }
}
