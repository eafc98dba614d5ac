/**
 * The two connections of a run: one does the work, the other watches it and can cancel it.
 *
 * The first one has an advisory lock for as long as the run lasts. It keeps a second run away, and the triggers of a run
 * check it: however the run ends, PostgreSQL releases the lock, and the triggers do nothing more.
 */
import type { Pool, PoolClient } from 'pg'
import { LOCK_TIMEOUT_MS } from '../any-table/locks.ts'
import { inTransaction, type Query, queryWithClient } from '../any-table/query.ts'
import type { Relation } from '../any-table/relation.ts'
import { TableError } from '../any-table/table-error.ts'
import { SQLSTATE, sqlStateOf } from '../errors.ts'

const RUN_LOCK_TIMEOUT_MS = 10_000

export type Session = {
  query: Query
  /** Runs `work` in a transaction; rolls back when it throws. */
  transaction<Result>(work: (query: Query) => Promise<Result>): Promise<Result>
  /** Runs on the second connection, also while the first one is busy. */
  watch: Query
  /** The process id of the first connection's backend. */
  pid: number
  signal: AbortSignal
  /** After an abort: resolves when the running statement has been cancelled, so that no later one is. */
  isQuiet(): Promise<void>
  end(): void
}

const SETTINGS = {
  // A limit of the role or the database would end the building of an index.
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  lock_timeout: `${LOCK_TIMEOUT_MS}ms`,
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  client_min_messages: 'warning',
  // The guard writes keys in this form.
  datestyle: 'ISO',
  // A batch looks up a few rows by index. With old statistics, or without any, the planner can expect more rows, and would
  // read whole tables while the rows of the batch are locked.
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  // Where a scan cannot be avoided, the high cost of it must not make the server compile the statement.
  jit: 'off',
}

/** Settings that only some versions have. */
const NEWER_SETTINGS = {
  idle_session_timeout: '0',
  transaction_timeout: '0',
  // The server then notices a killed run while it builds an index, and not only when the index is complete.
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
    // Destroyed and not returned to the pool: the settings and the lock are only for this run.
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

/** SQL: the number of the run's lock. The guard's function computes the same one. */
export function runLockSql(table: { oid: string }): string {
  return `hashtextextended('wa-ingest dedupe ${table.oid}', 0)`
}

/** Whether a run has the lock of the table now. */
export async function isRunAtWork(query: Query, table: { oid: string }): Promise<boolean> {
  const { rows } = await query<{ free: boolean }>(
    `SELECT pg_try_advisory_xact_lock_shared(${runLockSql(table)}) AS free`,
  )
  return rows[0]?.free === false
}

/** The oldest transaction that has a lock on one of the tables, in one line; undefined where there is none. */
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
    // Not every operating system can check a connection; there the server knows the setting and refuses it.
    await query('SELECT set_config(name, $2, false) FROM pg_settings WHERE name = $1', [name, value]).catch(
      () => {},
    )
  }
}

async function checkOut(pool: Pool): Promise<PoolClient> {
  const client = await pool.connect()
  // A broken connection makes the running or the next statement fail; the event itself must not end the process.
  client.on('error', () => {})
  return client
}

/**
 * Writers that fired the triggers of an ended run have the lock, shared, until the end of their transaction. So this waits
 * for the lock, but not for another run.
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
    throw sqlStateOf(err) === SQLSTATE.LOCK_NOT_AVAILABLE ? atWork(table, '') : err
  }
}

/** @throws TableError when another run is at work on the table. */
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
