/** What the tests of the embedded PostgreSQL share. */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { cleanUp, cleanUpAtEndOfFile } from '../support/clean-up.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

/** A data directory that every user may enter, unless another mode is given. */
export function createDataDirectory(mode = 0o755): string {
  const directory = createTempDirectory()
  chmodSync(directory, mode)
  const home = path.join(directory, 'postgres')
  cleanUp(() => {
    if (existsSync(home)) rmSync(realpathSync(home), { recursive: true, force: true })
  })
  return directory
}

let original: Promise<string> | undefined

/** The data of a server that was stopped in order, with one row in `kept`: made once for the file, and copied. */
export async function createStoppedPostgres(): Promise<{ dataDir: string; data: string }> {
  original ??= makeData()
  const dataDir = createDataDirectory()
  execFileSync('cp', ['-a', `${await original}/.`, dataDir])
  return { dataDir, data: path.join(dataDir, 'postgres', 'data') }
}

async function makeData(): Promise<string> {
  const dataDir = createTempDirectory({ livesWith: 'file' })
  cleanUpAtEndOfFile(() => {
    original = undefined
  })
  const { url, stop } = await startEmbeddedPostgres({ dataDir })
  await query(url, 'CREATE TABLE kept AS SELECT 1 AS value')
  await stop()
  return dataDir
}

/** Stopped at the end of the test, if it has not been stopped before. */
export async function startPostgres(
  dataDir: string,
  onLog: (line: string) => void = () => {},
): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, onLog })
  cleanUp(() => postgres.stop())
  return postgres
}

/** The rows of one statement, on a connection of its own. */
export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  // The server may be stopped while this is connected.
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}
