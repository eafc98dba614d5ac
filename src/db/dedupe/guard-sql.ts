/**
 * The triggers of a run, as SQL.
 *
 * Their functions run with the rights of whoever runs dedupe, because a writer need not have rights on anything new; so
 * every name in them carries its schema. enable_seqscan is off, because a plan made while the table was small would
 * make every writer read all of it; and dates are written in the one way that the run reads.
 */
import { quoteName, quoteText, unquoteName } from '../any-table/names.ts'
import { columnsBesideKey, joinCondition, type Reference } from '../any-table/references.ts'
import { type Column, keyEquals, rowKeyText, type Target } from '../any-table/target.ts'
import { referenceNames, temporaryNames } from './leftovers.ts'
import type { Placeholder } from './placeholder.ts'
import { runLockSql } from './session.ts'

/** `compared`: their types may be of an extension, whose operators are in a schema of its own. */
function functionSettings(compared: readonly Column[]): string {
  const schemas = new Set(['pg_catalog', ...compared.map(({ typeSchema }) => typeSchema), 'pg_temp'])
  const path = [...schemas].map(quoteName).join(', ')
  return `LANGUAGE plpgsql SECURITY DEFINER SET search_path = ${path} SET enable_seqscan = off SET datestyle = ISO`
}

/** The server has room for a few thousand locks in all; one for each id of a large import would take everybody's. */
const ID_LOCKS = 2_048

/** The number that stands for an id among the advisory locks; some ids share one. */
export function idLockSql(target: Pick<Target, 'oid'>, id: string): string {
  return `hashtextextended('wa-ingest id ' || (hashtextextended(${id}, 0) & ${ID_LOCKS - 1}), ${target.oid})`
}

/**
 * Takes the id away from a row that would be a duplicate, and lists the row.
 *
 * Of two transactions that insert one id at a time, the first has the id's lock until its end, so the second is listed
 * even before the first has committed. After that the look into the table decides. The lock is only ever tried: nobody
 * waits, so nobody can wait in a circle. Two ids with one number cost a row a detour and nothing else.
 */
export function guardFunction(target: Target, placeholder: Placeholder): string {
  const { sql, column, predicate } = target
  const names = temporaryNames(target)
  return `CREATE OR REPLACE FUNCTION ${names.guardFunction}() RETURNS trigger ${functionSettings(target.key)} AS $guard$
#variable_conflict use_variable
DECLARE
  v_id text := NEW.${column.sql};
  v_placeholder text;
BEGIN
  IF v_id IS NULL OR v_id = '' OR pg_try_advisory_xact_lock_shared(${runLockSql(target)}) THEN
    RETURN NEW;
  END IF;
  IF pg_try_advisory_xact_lock(${idLockSql(target, 'v_id')}) AND NOT EXISTS (
    SELECT FROM ${sql} t WHERE t.${column.sql} = v_id AND ${predicate} AND NOT (${keyMatches(target)})
  ) THEN
    RETURN NEW;
  END IF;
  v_placeholder := ${placeholder('v_id')};
  INSERT INTO ${names.deferred} AS d (key, id, placeholder) VALUES (${rowKeyText(target, 'NEW')}, v_id, v_placeholder)
  ON CONFLICT (key) DO UPDATE SET id = excluded.id, placeholder = excluded.placeholder, diverted_at = now();
  NEW.${column.sql} := v_placeholder;
  RETURN NEW;
END $guard$`
}

export function insertTrigger(target: Target): string {
  const { insertTrigger: name, guardFunction: run } = temporaryNames(target)
  return `CREATE TRIGGER ${name} BEFORE INSERT ON ${target.sql} FOR EACH ROW EXECUTE FUNCTION ${run}()`
}

/** Without a list of columns, so that an id set by another trigger is seen too. */
export function updateTrigger({ column, ...target }: Target): string {
  const { updateTrigger: name, guardFunction: run } = temporaryNames(target)
  return `CREATE TRIGGER ${name} BEFORE UPDATE ON ${target.sql} FOR EACH ROW
    WHEN (NEW.${column.sql} IS DISTINCT FROM OLD.${column.sql}) EXECUTE FUNCTION ${run}()`
}

/**
 * Leads a new reference to a row that has moved to the row that was kept. The row lock is the one that the foreign key's
 * own check takes a moment later; taken here it makes the reference wait for a batch under way, and then find its result.
 */
export function referenceFunction(target: Target, reference: Reference): string {
  const { columns, types } = reference
  const values = columns.map((_, index) => `v_${index}`)
  const compared = target.columns.filter(({ sql }) => reference.referenced.includes(sql))
  return `CREATE OR REPLACE FUNCTION ${referenceNames(reference).function}() RETURNS trigger ${functionSettings([...target.key, ...compared])} AS $reference$
#variable_conflict use_column
DECLARE
  ${values.map((value, index) => `${value} ${types[index]};`).join('\n  ')}
BEGIN
  IF ${columns.map((column) => `NEW.${column} IS NULL`).join(' OR ')} THEN
    RETURN NEW;
  END IF;
  PERFORM FROM ${target.sql} t WHERE ${joinCondition(reference, 'NEW', 't')} FOR KEY SHARE;
  IF NOT FOUND THEN
    SELECT ${reference.referenced.map((column) => `k.${column}`).join(', ')} INTO ${values.join(', ')}
    FROM ${target.quarantine} q JOIN ${target.sql} k ON ${keyEquals(target, 'k', 'q.kept_id')}
    WHERE q.source_table = ${quoteText(target.name)} AND ${isMovedRow(target, reference)}
    ORDER BY q.id DESC LIMIT 1;
    IF FOUND THEN
      ${columns.map((column, index) => `NEW.${column} := ${values[index]};`).join('\n      ')}
    END IF;
  END IF;
  RETURN NEW;
END $reference$`
}

/**
 * Whether quarantine row `q` is the one that NEW refers to. By key there is an index; by other columns the quarantine is
 * read, and only for a reference that would fail otherwise. What differs beside the key is not led: another tenant's.
 */
function isMovedRow(target: Target, reference: Reference): string {
  const { columns, referenced, isToKey } = reference
  if (isToKey) {
    const original = `jsonb_build_array(${keyOfReference(target, reference, 'NEW')})`
    return `q.original_id = ${target.key.length === 1 ? `${original} ->> 0` : `${original}::text`}`
  }
  const moved = (column: string) => `q."row" -> ${quoteText(unquoteName(column))}`
  const beside = columnsBesideKey(target, reference)
  return [
    ...columns.map((column, index) => `${moved(referenced[index] ?? '')} = to_jsonb(NEW.${column})`),
    ...(columns.length === 1 ? [] : beside.map((column) => `${moved(column)} = to_jsonb(k.${column})`)),
  ].join(' AND ')
}

export function referenceTrigger(reference: Reference): string {
  const { sql, columns } = reference
  const names = referenceNames(reference)
  return `CREATE TRIGGER ${names.trigger} BEFORE INSERT OR UPDATE OF ${columns.join(', ')} ON ${sql}
    FOR EACH ROW EXECUTE FUNCTION ${names.function}()`
}

function keyMatches({ key }: Target): string {
  return key.map(({ sql }) => `t.${sql} = NEW.${sql}`).join(' AND ')
}

/** The referring columns as texts, in the order of the target's key. */
function keyOfReference({ key }: Target, { columns, referenced }: Reference, row: string): string {
  return key.map(({ sql }) => `${row}.${columns[referenced.indexOf(sql)]}::text`).join(', ')
}
