/**
 * The two connections of a run: one that works, one that watches it and can cancel what it does.
 *
 * The first one holds an advisory lock for as long as the run lives. It keeps a second run away, and it is what the
 * triggers of a run look at: when the run dies, however it dies, PostgreSQL lets go of the lock, and they do nothing more.
 */
import type { Pool, PoolClient } from 'pg'
import { LOCK_NOT_AVAILABLE, LOCK_TIMEOUT_MS } from '../any-table/locks.ts'
import { inTransaction, type Query, queryWithClient } from '../any-table/query.ts'
import type { Relation } from '../any-table/relation.ts'
import { TableError } from '../any-table/table-error.ts'
import { sqlStateOf } from '../sql-state.ts'

const RUN_LOCK_TIMEOUT_MS = 10_000

export type Session = {
  query: Query
  /** Runs `work` in a transaction; whatever it throws rolls back. */
  transaction<Result>(work: (query: Query) => Promise<Result>): Promise<Result>
  /** On the second connection, also while the first one is busy. */
  watch: Query
  /** Process id of the working backend. */
  pid: number
  signal: AbortSignal
  /** After an abort: resolves when what was under way has been cancelled, so that nothing later is. */
  isQuiet(): Promise<void>
  end(): void
}

const SETTINGS = {
  // A limit of the role or the database would cut the building of an index.
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  lock_timeout: `${LOCK_TIMEOUT_MS}ms`,
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  client_min_messages: 'warning',
  // As the guard writes keys.
  datestyle: 'ISO',
  // All that a batch does is look up a few rows by index. Without statistics, or with old ones, a planner can take it for
  // more, and then reads whole tables while the rows of the batch are locked.
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  // Where a scan cannot be avoided, the price put on it must not make the server compile the statement.
  jit: 'off',
}

/** Of some versions only. */
const NEWER_SETTINGS = {
  idle_session_timeout: '0',
  transaction_timeout: '0',
  // A run that is killed while it builds an index is noticed then, and not when the index is there.
  client_connection_check_interval: '2s',
}

/** @throws TableError when another run is at work on the table. */
export async function openSession(pool: Pool, table: Relation, signal: AbortSignal): Promise<Session> {
  const worker = await checkOut(pool)
  const watcher = await checkOut(pool).catch((err) => {
    worker.release(true)
    throw err
  })
  const release = () => {
    signal.removeEventListener('abort', cancel)
    // Destroyed, not returned: settings and lock belong to this run alone.
    worker.release(true)
    watcher.release(true)
  }
  const query = queryWithClient(worker)
  const watch = queryWithClient(watcher)
  let pid = 0
  let cancelling: Promise<unknown> = Promise.resolve()
  const cancel = () => {
    cancelling = watch('SELECT pg_cancel_backend($1)', [pid]).catch(() => {})
  }
  try {
    for (const [name, value] of Object.entries(SETTINGS)) {
      await query('SELECT set_config($1, $2, false)', [name, value])
    }
    for (const one of [query, watch]) await applyNewerSettings(one)
    await assertNoRunAtWork(query, table)
    pid = await takeRunLock(query, table)
    signal.throwIfAborted()
    signal.addEventListener('abort', cancel)
    return {
      query,
      watch,
      pid,
      signal,
      transaction: (work) => inTransaction(query, work),
      isQuiet: async () => {
        await cancelling
      },
      end: release,
    }
  } catch (err) {
    release()
    throw err
  }
}

/** The number of the run's lock; the guard's function computes the same one. */
export function runLockSql(table: { oid: string }): string {
  return `hashtextextended('wa-ingest dedupe ${table.oid}', 0)`
}

export async function isRunAtWork(query: Query, table: { oid: string }): Promise<boolean> {
  const { rows } = await query<{ free: boolean }>(
    `SELECT pg_try_advisory_xact_lock_shared(${runLockSql(table)}) AS free`,
  )
  return rows[0]?.free === false
}

/** Who holds what the working connection is waiting for, or last waited for on this table: one line, or undefined. */
export async function describeLockHolders(
  session: Session,
  tables: readonly string[],
): Promise<string | undefined> {
  const { rows } = await session.watch<{ pid: number; application: string; state: string; seconds: number }>(
    `SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename::text, '') AS application,
       coalesce(a.state, '') AS state, extract(epoch FROM clock_timestamp() - a.xact_start)::int AS seconds
     FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.relation = ANY($1::oid[]) AND l.granted AND l.pid <> $2 AND l.pid <> pg_backend_pid()
       AND a.xact_start < clock_timestamp() - interval '1 s'
     ORDER BY a.xact_start LIMIT 1`,
    [tables, session.pid],
  )
  const holder = rows[0]
  if (!holder) return undefined
  return `waiting for process ${holder.pid} (${holder.application}, ${holder.state}), in a transaction for ${holder.seconds} s`
}

async function applyNewerSettings(query: Query): Promise<void> {
  for (const [name, value] of Object.entries(NEWER_SETTINGS)) {
    // Not every system can check a connection; there a setting is refused that the version knows.
    await query('SELECT set_config(name, $2, false) FROM pg_settings WHERE name = $1', [name, value]).catch(
      () => {},
    )
  }
}

async function checkOut(pool: Pool): Promise<PoolClient> {
  const client = await pool.connect()
  // A connection that breaks fails the statement under way, or the next one; the event itself must not end the process.
  client.on('error', () => {})
  return client
}

/**
 * Writers that met the triggers of a dead run hold the lock, shared, until the end of their transaction. So this waits
 * its turn, but not for another run.
 */
async function takeRunLock(query: Query, table: Relation): Promise<number> {
  try {
    await query(`SELECT set_config('lock_timeout', '${RUN_LOCK_TIMEOUT_MS}ms', false)`)
    const { rows } = await query<{ pid: number }>(
      `SELECT pg_backend_pid() AS pid FROM (SELECT pg_advisory_lock(${runLockSql(table)})) AS taken`,
    )
    await query(`SELECT set_config('lock_timeout', '${LOCK_TIMEOUT_MS}ms', false)`)
    return rows[0]?.pid ?? 0
  } catch (err) {
    throw sqlStateOf(err) === LOCK_NOT_AVAILABLE ? atWork(table, '') : err
  }
}

/** @throws TableError */
export async function assertNoRunAtWork(query: Query, table: Relation): Promise<void> {
  const holder = await exclusiveHolder(query, table)
  if (holder !== undefined) throw atWork(table, ` (process ${holder})`)
}

function atWork({ label }: Relation, who: string): TableError {
  return new TableError(
    `another run is at work on ${label}${who}; wait for it, or stop it and run this again`,
  )
}

async function exclusiveHolder(query: Query, table: Relation): Promise<number | undefined> {
  const { rows } = await query<{ pid: number }>(
    `SELECT pid FROM pg_locks
     WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 1
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND ((classid::bigint << 32) | objid::bigint) = ${runLockSql(table)}`,
  )
  return rows[0]?.pid
}
