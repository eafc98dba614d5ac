/** What a run puts into the database for its own time, and finds again after a run that was killed. */
import { qualifiedName } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'

/** Everything temporary carries this prefix, so that a person who meets it knows where it comes from. */
const PREFIX = 'wa_ingest_dedupe_'
/** Triggers fire in the order of their names, and these must see what every other one has made of the row. */
const TRIGGER_PREFIX = `zzz_${PREFIX}`

export type Leftovers = {
  /** Quoted, as in DROP TRIGGER … ON …. */
  triggers: { name: string; table: string }[]
  /** Quoted, with schema. */
  functions: string[]
  /** Quoted, with schema. */
  indexes: string[]
  /** Whether there is a list of rows whose id was taken away for the time of a run. */
  hasDiverted: boolean
}

type OfTable = { oid: string; schema: string }

/** Names of what a run makes beside the table. The oid keeps runs on two tables apart. */
export function temporaryNames({ oid, schema }: OfTable) {
  const inSchema = (name: string) => qualifiedName(schema, name)
  return {
    guardFunction: inSchema(`${PREFIX}guard_${oid}`),
    deferred: inSchema(`${PREFIX}diverted_${oid}`),
    lookupIndex: `${PREFIX}lookup_${oid}`,
    newIndex: `${PREFIX}unique_${oid}`,
    insertTrigger: `${TRIGGER_PREFIX}insert`,
    updateTrigger: `${TRIGGER_PREFIX}update`,
  }
}

/** Names of what a run makes for one foreign key, by the oid of its constraint. */
export function referenceNames({ oid, schema }: OfTable) {
  return {
    function: qualifiedName(schema, `${PREFIX}reference_${oid}`),
    index: qualifiedName(schema, `${PREFIX}reference_${oid}`),
    indexName: `${PREFIX}reference_${oid}`,
    trigger: `${TRIGGER_PREFIX}reference_${oid}`,
  }
}

/** The traces of runs on this table, whoever made them, and whether or not one is at work right now. */
export async function findLeftovers(query: Query, table: OfTable): Promise<Leftovers> {
  const names = temporaryNames(table)
  const references = `SELECT oid, conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = $1::oid`
  const { rows: triggers } = await query<{ name: string; table: string; function: string }>(
    `SELECT format('%I', t.tgname) AS name, t.tgrelid::regclass::text AS "table",
       format('%I.%I', n.nspname, p.proname) AS function
     FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE (t.tgrelid = $1::oid AND t.tgname = ANY($2::text[]))
       OR (t.tgrelid, t.tgname) IN (SELECT r.conrelid, $3 || r.oid FROM (${references}) r)
     ORDER BY 2, 1`,
    [table.oid, [names.insertTrigger, names.updateTrigger], `${TRIGGER_PREFIX}reference_`],
  )
  const { rows: indexes } = await query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE (i.indrelid = $1::oid AND c.relname = ANY($2::text[]))
       OR (i.indrelid, c.relname) IN (SELECT r.conrelid, $3 || r.oid FROM (${references}) r)
     ORDER BY 1`,
    [table.oid, [names.lookupIndex, names.newIndex], `${PREFIX}reference_`],
  )
  const { rows: deferred } = await query<{ exists: boolean }>(
    'SELECT to_regclass($1) IS NOT NULL AS exists',
    [names.deferred],
  )
  return {
    triggers: triggers.map((trigger) => ({ name: trigger.name, table: trigger.table })),
    functions: [...new Set(triggers.map((trigger) => trigger.function))],
    indexes: indexes.map(({ name }) => name),
    hasDiverted: deferred[0]?.exists === true,
  }
}

export function areLeftoversEmpty({ triggers, indexes, hasDiverted }: Leftovers): boolean {
  return triggers.length === 0 && indexes.length === 0 && !hasDiverted
}

/** In words, for people. */
export function describeLeftovers({ triggers, indexes, hasDiverted }: Leftovers): string {
  const parts = [
    ...triggers.map(({ name, table }) => `trigger ${name} on ${table}`),
    ...indexes.map((name) => `index ${name}`),
    ...(hasDiverted ? ['a list of rows whose id was taken away'] : []),
  ]
  return parts.join(', ')
}
