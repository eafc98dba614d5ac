/** The end of a run: what was put up for its time comes down. */
import { setTimeout as delay } from 'node:timers/promises'
import { inspectIndex } from '../any-table/unique-index.ts'
import { dropIndexConcurrently } from './build-index.ts'
import { giveBackIds, resolveDeferred } from './deferred-rows.ts'
import { removeGuard, removeReferenceGuards } from './guard.ts'
import { areLeftoversEmpty, describeLeftovers, findLeftovers, temporaryNames } from './leftovers.ts'
import { type Run, reportWaiting } from './run.ts'

const RESOLVE_PAUSE_MS = 300
const STOPPED_TIMEOUT_MS = 5_000

/**
 * Takes the guard down, decides about the rows that it listed, and removes what is temporary. After a stop this is done
 * in a few seconds or left: the triggers do nothing without a run, and the next run finds them. The indexes stay then,
 * for the next run to use.
 * @returns what is left, in words.
 */
export async function tidyUp(run: Run, { isStopped }: { isStopped: boolean }): Promise<string | undefined> {
  const { target } = run.context
  const { query } = run.session
  if (isStopped) await run.session.isQuiet()
  if (!areLeftoversEmpty(await findLeftovers(query, target))) {
    const signal = isStopped ? AbortSignal.timeout(STOPPED_TIMEOUT_MS) : run.session.signal
    await takeDown({ ...run, session: { ...run.session, signal } }, !isStopped).catch((err) => {
      if (!isStopped) throw err
    })
  }
  const left = await findLeftovers(query, target)
  return areLeftoversEmpty(left) ? undefined : describeLeftovers(left)
}

async function takeDown(run: Run, removesIndexes: boolean): Promise<void> {
  const { session, context } = run
  const onWait = reportWaiting(run, 'finish')
  run.report({ step: 'finish', done: 0, total: 0 })
  await removeGuard(session, context.target, onWait)
  await resolveAll(run)
  // Only now: until here rows have moved.
  await removeReferenceGuards(session, context.references, onWait)
  if (!removesIndexes) return
  const { indexes } = await findLeftovers(session.query, context.target)
  for (const index of indexes) await dropIndexConcurrently(session, index)
}

/** With the guard down nothing is added to the list, so this comes to an end. */
async function resolveAll({ session, context, tally }: Run): Promise<void> {
  const { query } = session
  const { deferred } = temporaryNames(context.target)
  if (!(await findLeftovers(query, context.target)).hasDiverted) return
  while ((await resolveDeferred(session, context, tally)) > 0) {
    await delay(RESOLVE_PAUSE_MS, undefined, { signal: session.signal })
  }
  // Without the index the table has duplicates anyway: rows that cannot move become what their writers made them.
  const { fault } = await inspectIndex(query, context.target)
  if (fault !== undefined) await giveBackIds(session, context)
  const { rows } = await query<{ isListed: boolean }>(`SELECT EXISTS (SELECT FROM ${deferred}) AS "isListed"`)
  if (!rows[0]?.isListed) await query(`DROP TABLE ${deferred}`)
}
