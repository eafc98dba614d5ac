/** A PostgreSQL server of a scenario's own, and what can happen to it. */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { QueryResultRow } from 'pg'
import { signalServer } from '../../rig/signal-server.ts'
import { withClient } from '../../rig/with-client.ts'
import { startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { readPostmaster } from '../../src/local/postmaster.ts'
import { copyPostgresTemplate } from './postgres-template.ts'

export type PostgresStore = {
  url: string
  /** With all of its files. */
  directory(): string
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
  query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
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
    directory: () => path.join(directory, 'postgres'),
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
      signal(dataDirectory(), 'SIGKILL')
      await stopped
    },
    async start(newDirectory = directory) {
      directory = newDirectory
      server = await launch()
      if (server.url !== url) throw new Error('PostgreSQL came back on another port: something else took it')
    },
    freeze: () => signal(dataDirectory(), 'SIGSTOP'),
    thaw: () => signal(dataDirectory(), 'SIGCONT'),
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
    query: <Row extends QueryResultRow>(text: string, values: unknown[] = []) =>
      withClient(url, async (client) => (await client.query<Row>(text, values)).rows),
    async close() {
      store.thaw()
      await server.stop()
    },
  }
  return store
}

/** Does nothing when the server does not run. */
function signal(data: string, name: Parameters<typeof signalServer>[1]): void {
  const pid = readPostmaster(data)?.pid
  if (pid !== undefined) signalServer(pid, name)
}
