/**
 * `--apply`: moves the duplicates of a table into quarantine and builds the unique index, while the table is in use.
 *
 * In this order: an index that finds ids; the guard, which keeps new duplicates out; the move of the copies to quarantine;
 * the unique index; the removal of the guard. Every step looks at what is there already, so a run that was stopped or killed
 * continues where it was.
 */
import type { Pool } from 'pg'
import { qualifiedName } from '../any-table/names.ts'
import { ensureQuarantine } from '../any-table/quarantine.ts'
import { type Query, queryWithClient } from '../any-table/query.ts'
import { findReferences } from '../any-table/references.ts'
import { TableError } from '../any-table/table-error.ts'
import { describeTarget, type Target, type TargetOptions } from '../any-table/target.ts'
import { describeFault, inspectIndex } from '../any-table/unique-index.ts'
import {
  buildUniqueIndex,
  dropIndexConcurrently,
  ensureLookupIndex,
  ensureReferenceIndexes,
} from './build-index.ts'
import { countDuplicates } from './count-duplicates.ts'
import { resolveDeferred } from './deferred-rows.ts'
import { installGuard } from './guard.ts'
import { moveDuplicates } from './move-duplicates.ts'
import { findMissingPrivileges } from './privileges.ts'
import { createRun, type Run, type RunOptions, reportBuild, reportWaiting } from './run.ts'
import { assertNoRunAtWork, openSession, type Session } from './session.ts'
import { tidyUp } from './tidy-up.ts'

export type DedupeOptions = TargetOptions &
  RunOptions & {
    signal: AbortSignal
    /** Most rows in one transaction; fewer where that takes too long. */
    batchSize?: number
    replaceIndex?: boolean
  }

export type DedupeResult = {
  run_id: string
  table: string
  column: string
  /** `done`: no duplicates, and the index is valid. `incomplete`: some ids could not be cleaned. */
  outcome: 'done' | 'incomplete' | 'stopped'
  moved: number
  /** How many rows referred to a moved row, by foreign key. */
  repointed: Record<string, number>
  /** Deferred rows that got their id back, because the transaction with the other copy was rolled back. */
  restored: number
  left_out: { id: string; reason: string }[]
  index: 'built' | 'kept' | 'missing'
  longest_batch_ms: number
  duration_ms: number
  /** Temporary objects that could not be removed. */
  left_behind?: string
}

export const DEFAULT_BATCH_SIZE = 500

/** Writers in REPEATABLE READ can add a duplicate that the guard does not see. That is rare, so this many rounds suffice. */
const MOST_ROUNDS = 10

/** @throws TableError when the table, the role or an index does not allow it; then nothing was changed. */
export async function applyDedupe(pool: Pool, options: DedupeOptions): Promise<DedupeResult> {
  const startedAt = performance.now()
  const target = await prepare(pool, options)
  const session = await openSession(pool, target, options.signal)
  try {
    const before = await inspectIndex(session.query, target)
    const run = await createRun(session, target, options)
    const { isStopped, leftBehind } = await cleanAndTidy(run, options.batchSize ?? DEFAULT_BATCH_SIZE)
    const after = await inspectIndex(session.query, target)
    return {
      run_id: run.context.runId,
      table: target.label,
      column: target.column.name,
      outcome: isStopped ? 'stopped' : run.tally.leftOut.size > 0 ? 'incomplete' : 'done',
      moved: run.tally.moved,
      repointed: run.tally.repointed,
      restored: run.tally.restored,
      left_out: [...run.tally.leftOut].map(([id, reason]) => ({ id, reason })),
      index: after.fault !== undefined ? 'missing' : before.fault === undefined ? 'kept' : 'built',
      longest_batch_ms: Math.round(run.tally.longestBatchMs),
      duration_ms: Math.round(performance.now() - startedAt),
      ...(leftBehind === undefined ? {} : { left_behind: leftBehind }),
    }
  } finally {
    session.end()
  }
}

/**
 * `--clean-up`: removes what a killed run has left, and decides about its deferred rows. Moves nothing else.
 * @returns what could not be removed, in words.
 */
export async function cleanUpDedupe(pool: Pool, options: DedupeOptions): Promise<string | undefined> {
  const target = await prepare(pool, { ...options, replaceIndex: true })
  const session = await openSession(pool, target, options.signal)
  try {
    const { fault } = await inspectIndex(session.query, target)
    // An INVALID index may refuse rows, and does not keep ids unique.
    if (fault === 'invalid') await dropUniqueIndex(session, target)
    return await tidyUp(await createRun(session, target, options), { isStopped: false })
  } finally {
    session.end()
  }
}

async function prepare(pool: Pool, options: DedupeOptions): Promise<Target> {
  const client = await pool.connect()
  try {
    const query = queryWithClient(client)
    const target = await describeTarget(query, options)
    await assertNoRunAtWork(query, target)
    const obstacles = await findMissingPrivileges(query, target, await findReferences(query, target))
    if (obstacles.length > 0) throw new TableError(obstacles.join('\n'))
    const state = await inspectIndex(query, target)
    const isReplaceable = state.fault === 'other_definition' && options.replaceIndex === true
    if (state.fault === undefined) await refuseDamagedIndex(query, target)
    if (state.fault === undefined || state.fault === 'missing' || state.fault === 'invalid' || isReplaceable)
      return target
    throw new TableError(describeFault(state, target.label, 'npx wa-ingest dedupe --apply'))
  } finally {
    client.release()
  }
}

function dropUniqueIndex(session: Session, { schema, indexName }: Target): Promise<void> {
  return dropIndexConcurrently(session, qualifiedName(schema, indexName))
}

/** A valid index can be damaged: an update of the operating system may change the collation that it is sorted by. */
async function refuseDamagedIndex(query: Query, target: Target): Promise<void> {
  const { groups } = await countDuplicates(query, target)
  if (groups === 0) return
  const index = qualifiedName(target.schema, target.indexName)
  throw new TableError(
    `${groups} ids of ${target.label} are there more than once although the index ${target.indexName} is valid, so the index is damaged, as after a change of the system's collations; run: DROP INDEX CONCURRENTLY ${index}, then this command again`,
  )
}

/** Removes the guard however the run ends. */
async function cleanAndTidy(
  run: Run,
  batchSize: number,
): Promise<{ isStopped: boolean; leftBehind?: string | undefined }> {
  const { session, context } = run
  try {
    await ensureQuarantine(session.query, context.target)
    await clean(run, batchSize)
    return { isStopped: false, leftBehind: await tidyUp(run, { isStopped: false }) }
  } catch (err) {
    const leftBehind = await tidyUp(run, { isStopped: true }).catch(() => undefined)
    if (session.signal.aborted) return { isStopped: true, leftBehind }
    throw err
  }
}

async function clean(run: Run, batchSize: number): Promise<void> {
  const { session, context } = run
  const { target, references } = context
  const { fault } = await inspectIndex(session.query, target)
  if (fault === undefined) return
  // An INVALID index of a failed build would refuse rows of writers.
  if (fault === 'invalid') await dropUniqueIndex(session, target)
  await ensureLookupIndex(session, target, reportBuild(run, 'prepare'))
  await ensureReferenceIndexes(session, references, reportBuild(run, 'prepare'))
  await installGuard(session, target, references, reportWaiting(run, 'prepare'))
  for (let round = 1; round <= MOST_ROUNDS; round++) {
    await move(run, batchSize)
    if (run.tally.leftOut.size > 0) return
    if (await buildUniqueIndex(session, target, reportBuild(run, 'index'), reportWaiting(run, 'index')))
      return
  }
  throw new TableError(
    `duplicates of ${target.label} keep coming past the guard, from writers in REPEATABLE READ or with triggers switched off; stop those and run this again`,
  )
}

async function move({ session, context, tally, report }: Run, batchSize: number): Promise<void> {
  await moveDuplicates(session, context, tally, {
    batchSize,
    onProgress: (done, total, details) => report({ step: 'move', done, total, details }),
  })
  // Rows that cannot move have to be found before there is an index that keeps them from getting their id back.
  await resolveDeferred(session, context, tally)
}
