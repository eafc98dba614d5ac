/** How every process reaches PostgreSQL: one pool, and Kysely on top of it. */
import { Kysely, PostgresDialect } from 'kysely'
import { Pool, type PoolConfig } from 'pg'
import type { Database } from './schema.ts'
import { giveUpSilentServer } from './silent-server.ts'

/** A connection that the other side forgot is noticed after this long, and not after the two hours of the system. */
const KEEP_ALIVE_DELAY_MS = 10_000
const DEFAULT_CONNECT_TIMEOUT_MS = 5_000
const DEFAULT_MAX_CONNECTIONS = 10

export type PoolOptions = {
  /** postgres://user:password@host:port/database */
  url: string
  /** Shown in pg_stat_activity: which process holds a lock is the first question when something waits. */
  applicationName: string
  /** Most connections at a time. */
  max?: number
  /** How long a query may wait for a connection of its own, the connecting included. 0: for ever. */
  connectTimeoutMs?: number
  /** An idle connection is closed after this long. 0: never. */
  idleTimeoutMs?: number
  /** The server ends a statement after this long (SQLSTATE 57014). Behind PgBouncer use `queryTimeoutMs`. */
  statementTimeoutMs?: number
  /** A server that says nothing for this long while it is asked is given up: see silent-server.ts. */
  queryTimeoutMs?: number
  /** The server ends a statement that waited this long for a lock (SQLSTATE 55P03). Not behind PgBouncer. */
  lockTimeoutMs?: number
  /** The server ends a session that sits idle in a transaction this long. Not behind PgBouncer. */
  idleInTransactionTimeoutMs?: number
  /** Hears of idle connections that broke. The pool has already replaced them; without a listener it only goes on. */
  onError?: (err: Error) => void
}

/**
 * A pool that connects on first use, so making one never fails.
 *
 * Only set time-outs are sent at connecting, because PgBouncer refuses a start-up parameter that it does not know.
 */
export function createPool(options: PoolOptions): Pool {
  const pool = new Pool(poolConfig(options))
  // An 'error' event without listener would end the process, for a connection that nobody was using.
  pool.on('error', (err) => options.onError?.(err))
  // The pool hears only idle connections. One that is lost between two statements of a transaction would end the process;
  // whoever uses it learns of the loss from the next statement.
  pool.on('connect', (client) => client.on('error', () => {}))
  if (options.queryTimeoutMs !== undefined) giveUpSilentServer(pool, options.queryTimeoutMs)
  return pool
}

/** Kysely over the pool. `destroy()` on it ends the pool. */
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
