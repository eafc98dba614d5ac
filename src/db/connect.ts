/** Connections to PostgreSQL: a pool, and Kysely on top of it. */
import { Kysely, PostgresDialect } from 'kysely'
import { Pool, type PoolConfig } from 'pg'
import type { Database } from './schema.ts'
import { giveUpSilentServer } from './silent-server.ts'

/** A connection that the server has forgotten is noticed after this long, instead of the system's two hours. */
const KEEP_ALIVE_DELAY_MS = 10_000
const DEFAULT_CONNECT_TIMEOUT_MS = 5_000
const DEFAULT_MAX_CONNECTIONS = 10

export type PoolOptions = {
  /** postgres://user:password@host:port/database */
  url: string
  /** Shown in pg_stat_activity, to find the process that holds a lock. */
  applicationName: string
  /** Maximum number of connections. */
  max?: number
  /** How long a query may wait for a connection, connecting included. 0: without limit. */
  connectTimeoutMs?: number
  /** An idle connection is closed after this long. 0: never. */
  idleTimeoutMs?: number
  /** The server ends a statement after this long (SQLSTATE 57014). Behind PgBouncer use `queryTimeoutMs`. */
  statementTimeoutMs?: number
  /** A connection is closed when the server sends nothing for this long during a query: see silent-server.ts. */
  queryTimeoutMs?: number
  /** The server ends a statement that waited this long for a lock (SQLSTATE 55P03). Not behind PgBouncer. */
  lockTimeoutMs?: number
  /** The server ends a session that sits idle in a transaction this long. Not behind PgBouncer. */
  idleInTransactionTimeoutMs?: number
  /** Called when an idle connection breaks. The pool has replaced it already. */
  onError?: (err: Error) => void
}

/**
 * A pool that connects on first use, so creating one never fails.
 *
 * Time-outs that are not set are not sent at all: PgBouncer refuses a start-up parameter that it does not know.
 */
export function createPool(options: PoolOptions): Pool {
  const pool = new Pool(poolConfig(options))
  // An 'error' event without a listener ends the process, here for a connection that is not in use.
  pool.on('error', (err) => options.onError?.(err))
  // The pool listens on idle connections only. One that breaks between two statements of a transaction would end the
  // process; the next statement fails anyway.
  pool.on('connect', (client) => client.on('error', () => {}))
  if (options.queryTimeoutMs !== undefined) giveUpSilentServer(pool, options.queryTimeoutMs)
  return pool
}

/** Kysely on the pool. Its `destroy()` ends the pool. */
export function createDatabase(pool: Pool): Kysely<Database> {
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
}

function poolConfig(options: PoolOptions): PoolConfig {
  return {
    connectionString: options.url,
    application_name: options.applicationName,
    max: options.max ?? DEFAULT_MAX_CONNECTIONS,
    connectionTimeoutMillis: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: options.idleTimeoutMs ?? 30_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    statement_timeout: options.statementTimeoutMs,
    lock_timeout: options.lockTimeoutMs,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs,
  }
}
