/** Opens the database for a command, through a direct connection: session locks and migrations need one. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Pool } from 'pg'
import { loadConfig } from '../config/load-config.ts'
import { createPool } from '../db/connect.ts'
import { openEmbeddedPostgres } from '../local/embedded-postgres.ts'
import { type CommandContext, textOption, writeLine } from './command.ts'

export type CommandDatabase = { url: string; pool: Pool; close(): Promise<void> }

export type CommandDatabaseOptions = {
  applicationName: string
  /** Most connections at a time. */
  max: number
  /** Whether a missing embedded PostgreSQL is created; otherwise it is an error. */
  createsData?: boolean
}

/**
 * Uses `--database-url`, DATABASE_DIRECT_URL, DATABASE_URL, or the embedded PostgreSQL in DATA_DIR, which is started for the
 * length of the command unless it runs already.
 * @throws Error with one line when there is none, or it does not answer.
 */
export async function openCommandDatabase(
  { values, env, stderr }: CommandContext,
  { applicationName, max, createsData = false }: CommandDatabaseOptions,
): Promise<CommandDatabase> {
  const config = loadConfig(env, { needsSecrets: false })
  const given = textOption(values, 'database-url') ?? config.database.directUrl ?? config.database.url
  if (given === undefined && !createsData && !existsSync(path.join(config.dataDir, 'postgres'))) {
    throw new Error(
      `no database: DATABASE_URL is not set, and ${config.dataDir} has none; set DATABASE_URL or give --database-url`,
    )
  }
  const embedded =
    given === undefined
      ? await openEmbeddedPostgres({ dataDir: config.dataDir, onLog: (line) => writeLine(stderr, line) })
      : undefined
  const url = given ?? embedded?.url ?? ''
  const pool = createPool({ url, applicationName, max })
  const close = async () => {
    await pool.end()
    await embedded?.stop()
  }
  try {
    await pool.query('SELECT 1')
    return { url, pool, close }
  } catch (err) {
    await close()
    throw new Error(`cannot use the database: ${reasonOf(err)}; check DATABASE_URL`, { cause: err })
  }
}

/** A refused connection to a name with several addresses is an AggregateError without a message. */
function reasonOf(err: unknown): string {
  if (err instanceof AggregateError && err.errors.length > 0) return reasonOf(err.errors[0])
  return err instanceof Error ? err.message : String(err)
}
