/** What the tests of the embedded PostgreSQL share. */
import { chmodSync, existsSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/local/embedded-postgres.ts'
import { cleanUp } from '../support/clean-up.ts'
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
