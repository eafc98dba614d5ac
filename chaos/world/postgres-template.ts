/** The files of a migrated PostgreSQL: made once for a run, and copied for each play. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chmodSync, lstatSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { migrateToLatest } from '../../src/db/migrate.ts'
import { startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { readConnection, writeConnection } from '../../src/local/postgres-cluster.ts'
import { migrateQueueSchema } from '../../src/queue/postgres-backend.ts'
import { takePort } from './ports.ts'

/** Few and small files: the disk of one scenario is small. */
const SETTINGS = { min_wal_size: '32MB' }

/**
 * Makes the files in this directory. PostgreSQL's user may enter it.
 * @throws where that user cannot: its files would be somewhere else.
 */
export async function makePostgresTemplate(directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true })
  chmodSync(directory, 0o755)
  const server = await startEmbeddedPostgres({ dataDir: directory, settings: SETTINGS })
  try {
    await migrate(server.url)
  } finally {
    await server.stop()
  }
  if (lstatSync(path.join(directory, 'postgres')).isSymbolicLink()) {
    throw new Error(
      `the user of PostgreSQL cannot enter ${directory}: set TMPDIR to a directory that it can enter`,
    )
  }
}

/** A server of its own in `directory`, on a port of its own; it has yet to be started. */
export async function copyPostgresTemplate(
  template: string,
  directory: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const home = path.join(directory, 'postgres')
  mkdirSync(home, { recursive: true, mode: 0o755 })
  await copyFiles(path.join(template, 'postgres', 'data'), path.join(home, 'data'))
  const connection = readConnection(path.join(template, 'postgres'))
  if (connection === undefined) throw new Error(`${template} has no PostgreSQL`)
  writeConnection(home, { ...connection, port: await takePort() })
  // The last one counts.
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`)
  appendFileSync(path.join(home, 'data', 'postgresql.conf'), lines.join(''))
}

async function migrate(url: string): Promise<void> {
  const db = createDatabase(createPool({ url, applicationName: 'chaos', max: 1 }))
  try {
    await migrateToLatest(db)
  } finally {
    await db.destroy()
  }
  await migrateQueueSchema(url)
}

/** With owners and modes, which PostgreSQL insists on. */
export async function copyFiles(from: string, to: string): Promise<void> {
  const child = spawn('cp', ['-a', from, to], { stdio: 'ignore' })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`cp of ${from} failed with ${String(code)}`)
}
