/**
 * Builds indexes while writers go on, and removes what a failed build has left.
 *
 * CREATE INDEX CONCURRENTLY waits for transactions that are older than itself, but holds no lock that a writer needs. So it
 * needs no lock time-out.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { LOCK_TIMEOUT_MS, untilUnlocked } from '../any-table/locks.ts'
import { qualifiedName, quoteName } from '../any-table/names.ts'
import type { Reference } from '../any-table/references.ts'
import { TableError } from '../any-table/table-error.ts'
import type { Target } from '../any-table/target.ts'
import { inspectIndex } from '../any-table/unique-index.ts'
import { SQLSTATE, sqlStateOf } from '../errors.ts'
import type { OnWait } from './guard.ts'
import { referenceNames, temporaryNames } from './leftovers.ts'
import type { Session } from './session.ts'

const LOOK_EVERY_MS = 250
const STOPPED_TIMEOUT_MS = 3_000

/** `done` and `total` are blocks of the table; total 0: not known yet. `details`: what the build waits for. */
export type OnBuild = (done: number, total: number, details?: string) => void

/**
 * Builds the unique index, or replaces one of the same name and another definition.
 * @returns false when there are duplicates. They have to be moved first; nothing of the attempt is left.
 */
export async function buildUniqueIndex(
  session: Session,
  target: Target,
  onBuild: OnBuild,
  onWait: OnWait,
): Promise<boolean> {
  const { indexName } = target
  const state = await inspectIndex(session.query, target)
  if (state.fault === undefined) return true
  if (state.fault === 'invalid') await dropIndex(session, target, indexName)
  if (state.fault !== 'other_definition') return create(session, target, indexName, onBuild)
  const { newIndex } = temporaryNames(target)
  if (!(await create(session, target, newIndex, onBuild))) return false
  await untilUnlocked(
    () =>
      session.transaction(async (query) => {
        if (state.constraint === undefined)
          await query(`DROP INDEX ${qualifiedName(target.schema, indexName)}`)
        else await query(`ALTER TABLE ${target.sql} DROP CONSTRAINT ${quoteName(state.constraint)}`)
        await query(`ALTER INDEX ${qualifiedName(target.schema, newIndex)} RENAME TO ${quoteName(indexName)}`)
      }),
    { signal: session.signal, onWait: () => onWait([target.oid]) },
  )
  return true
}

async function create(session: Session, target: Target, name: string, onBuild: OnBuild): Promise<boolean> {
  const state = await inspectIndex(session.query, target, name)
  if (state.fault === undefined) return true
  if (state.exists) await dropIndex(session, target, name)
  const { sql, column, predicate } = target
  const statement = `CREATE UNIQUE INDEX CONCURRENTLY ${quoteName(name)} ON ${sql} (${column.sql}) WHERE ${predicate}`
  try {
    await build(session, qualifiedName(target.schema, name), statement, onBuild)
    return true
  } catch (err) {
    if (sqlStateOf(err) === SQLSTATE.UNIQUE_VIOLATION) return false
    throw err
  }
}

/** Makes an index that finds ids, for the guard and the batches, unless the table has one. */
export async function ensureLookupIndex(session: Session, target: Target, onBuild: OnBuild): Promise<void> {
  const { lookupIndex } = temporaryNames(target)
  if (await hasLookupIndex(session, target)) return
  await dropIndex(session, target, lookupIndex)
  const { sql, column, predicate } = target
  const statement = `CREATE INDEX CONCURRENTLY ${quoteName(lookupIndex)} ON ${sql} (${column.sql}) WHERE ${predicate}`
  await build(session, qualifiedName(target.schema, lookupIndex), statement, onBuild)
}

async function hasLookupIndex({ query }: Session, { oid, column }: Target): Promise<boolean> {
  const { lookupIndex } = temporaryNames({ oid, schema: '' })
  const { rows } = await query<{ exists: boolean }>(
    `SELECT EXISTS (
       SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
       WHERE i.indrelid = $1::oid AND i.indisvalid AND i.indislive AND m.amname = 'btree' AND a.attname = $2
         AND a.attcollation = i.indcollation[0] AND (i.indpred IS NULL OR c.relname = $3)
     ) AS exists`,
    [oid, column.name, lookupIndex],
  )
  return rows[0]?.exists === true
}

/** Makes indexes for the foreign keys whose columns have none. */
export async function ensureReferenceIndexes(
  session: Session,
  references: readonly Reference[],
  onBuild: OnBuild,
): Promise<void> {
  // Indexes of partitioned tables cannot be built concurrently.
  for (const reference of references.filter((one) => !one.isIndexed && !one.isPartitioned)) {
    const { index, indexName } = referenceNames(reference)
    await dropIndexConcurrently(session, index)
    const statement = `CREATE INDEX CONCURRENTLY ${indexName} ON ${reference.sql} (${reference.columns.join(', ')})`
    await build(session, index, statement, onBuild)
  }
}

/** `name`: with its schema, quoted. */
export async function dropIndexConcurrently(session: Session, name: string): Promise<void> {
  await withoutLockTimeout(session, () => session.query(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`))
}

function dropIndex(session: Session, target: Target, name: string): Promise<void> {
  return dropIndexConcurrently(session, qualifiedName(target.schema, name))
}

/** An INVALID index may refuse rows, so it is dropped when the build fails. */
async function build(session: Session, name: string, statement: string, onBuild: OnBuild): Promise<void> {
  const watching = new AbortController()
  const watcher = watchBuild(session, onBuild, watching.signal)
  try {
    await withoutLockTimeout(session, () => session.query(statement))
  } catch (err) {
    await dropIndexConcurrently(session, name).catch(() => {})
    throw sqlStateOf(err) === SQLSTATE.PROGRAM_LIMIT_EXCEEDED ? tooLong(err) : err
  } finally {
    watching.abort()
    await watcher
  }
}

/** No writer waits for a concurrent build, so it may wait for as long as it takes; after a stop only for a moment. */
async function withoutLockTimeout(session: Session, work: () => Promise<unknown>): Promise<void> {
  await session.query('SET lock_timeout = 0')
  await session.query(`SET statement_timeout = ${session.signal.aborted ? STOPPED_TIMEOUT_MS : 0}`)
  try {
    await work()
  } finally {
    await session.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`).catch(() => {})
  }
}

async function watchBuild(session: Session, onBuild: OnBuild, until: AbortSignal): Promise<void> {
  while (!until.aborted) {
    await delay(LOOK_EVERY_MS, undefined, { signal: until }).catch(() => {})
    if (until.aborted) return
    const { rows } = await session
      .watch<{
        done: string
        total: string
        phase: string
        locker: number | null
        application: string | null
      }>(
        `SELECT p.blocks_done AS done, p.blocks_total AS total, p.phase, nullif(p.current_locker_pid, 0) AS locker,
           a.application_name AS application
         FROM pg_stat_progress_create_index p LEFT JOIN pg_stat_activity a ON a.pid = nullif(p.current_locker_pid, 0)
         WHERE p.pid = $1`,
        [session.pid],
      )
      .catch(() => ({ rows: [] }))
    const row = rows[0]
    if (!row) continue
    const locker = row.locker === null ? '' : `: process ${row.locker} (${row.application ?? ''})`
    onBuild(Number(row.done), Number(row.total), `${row.phase}${locker}`)
  }
}

function tooLong(err: unknown): TableError {
  const reason = err instanceof Error ? err.message : String(err)
  return new TableError(
    `an id is too long for an index (${reason}); ids of messages have at most 512 bytes, so set what is longer to NULL and run this again`,
    { cause: err },
  )
}
