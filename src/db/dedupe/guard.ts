/**
 * The guard: while a run is at work no writer adds a duplicate, none fails, and none waits.
 *
 * A row whose id is there already loses its id and is listed. It goes in all the same, so INSERT … RETURNING and rows
 * that refer to it work as ever; the run then moves it, or gives the id back where the other row never came to be. And
 * new references to rows that have moved lead to the row that was kept.
 *
 * The triggers look at the run's lock first: without a living run they do nothing.
 */

import { untilUnlocked } from '../any-table/locks.ts'
import type { Query } from '../any-table/query.ts'
import type { Reference } from '../any-table/references.ts'
import type { Target } from '../any-table/target.ts'
import {
  guardFunction,
  insertTrigger,
  referenceFunction,
  referenceTrigger,
  updateTrigger,
} from './guard-sql.ts'
import { findLeftovers, referenceNames, temporaryNames } from './leftovers.ts'
import { choosePlaceholder } from './placeholder.ts'
import type { Session } from './session.ts'

/** Hears of every vain try to lock one of the tables (oids). */
export type OnWait = (tableOids: string[]) => unknown

/** Puts up what is not there yet. The table needs an index that finds an id, or every writer pays for a whole scan. */
export async function installGuard(
  session: Session,
  target: Target,
  references: readonly Reference[],
  onWait: OnWait,
): Promise<void> {
  const placeholder = await choosePlaceholder(session, target)
  const { triggers } = await findLeftovers(session.query, target)
  const isThere = (name: string) => triggers.some((trigger) => trigger.name === name)
  const names = temporaryNames(target)
  await session.query(
    `CREATE TABLE IF NOT EXISTS ${names.deferred} (
       key text PRIMARY KEY, id text NOT NULL, placeholder text, diverted_at timestamptz NOT NULL DEFAULT now())`,
  )
  // References first: no row moves before they are led.
  for (const reference of references) {
    await change(session, [reference.tableOid], onWait, async (query) => {
      await query(referenceFunction(target, reference))
      if (!isThere(referenceNames(reference).trigger)) await query(referenceTrigger(reference))
    })
  }
  await change(session, [target.oid], onWait, async (query) => {
    await query(guardFunction(target, placeholder))
    if (!isThere(names.insertTrigger)) await query(insertTrigger(target))
    if (!isThere(names.updateTrigger)) await query(updateTrigger(target))
  })
}

/** From here on the table's index alone keeps duplicates out. References are still led. */
export async function removeGuard(session: Session, target: Target, onWait: OnWait): Promise<void> {
  const { insertTrigger: insert, updateTrigger: update, guardFunction: guard } = temporaryNames(target)
  await change(session, [target.oid], onWait, async (query) => {
    await query(`DROP TRIGGER IF EXISTS ${insert} ON ${target.sql}`)
    await query(`DROP TRIGGER IF EXISTS ${update} ON ${target.sql}`)
    await query(`DROP FUNCTION IF EXISTS ${guard}()`)
  })
}

export async function removeReferenceGuards(
  session: Session,
  references: readonly Reference[],
  onWait: OnWait,
): Promise<void> {
  for (const reference of references) {
    const { sql, tableOid } = reference
    const names = referenceNames(reference)
    await change(session, [tableOid], onWait, async (query) => {
      await query(`DROP TRIGGER IF EXISTS ${names.trigger} ON ${sql}`)
      await query(`DROP FUNCTION IF EXISTS ${names.function}()`)
    })
  }
}

function change(
  session: Session,
  tables: string[],
  onWait: OnWait,
  work: (query: Query) => Promise<void>,
): Promise<void> {
  return untilUnlocked(() => session.transaction(work), {
    signal: session.signal,
    onWait: () => onWait(tables),
  })
}
