/**
 * The triggers of a run, as SQL.
 *
 * Their functions run with the rights of whoever runs dedupe, because a writer need not have rights on anything new; so
 * every name in them carries its schema. enable_seqscan is off, because a plan made while the table was small would
 * make every writer read all of it.
 */
import { quoteName, quoteText } from './identifier.ts'
import { temporaryNames } from './leftovers.ts'
import type { Placeholder } from './placeholder.ts'
import { joinCondition, type Reference } from './references.ts'
import { runLockSql } from './session.ts'
import { keyText, type Target } from './target.ts'

/** The schemas of the key's types, for the operators of types that an extension brings. */
function functionSettings({ key }: Target): string {
  const schemas = new Set(['pg_catalog', ...key.map(({ typeSchema }) => typeSchema), 'pg_temp'])
  const path = [...schemas].map(quoteName).join(', ')
  return `LANGUAGE plpgsql SECURITY DEFINER SET search_path = ${path} SET enable_seqscan = off`
}

/** The number that stands for an id among the advisory locks. */
export function idLockSql(target: Pick<Target, 'oid'>, id: string): string {
  return `hashtextextended(${id}, ${target.oid})`
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
  return `CREATE OR REPLACE FUNCTION ${names.guardFunction}() RETURNS trigger ${functionSettings(target)} AS $guard$
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
  INSERT INTO ${names.diverted} AS d (key, id, placeholder) VALUES (${keyText(target, 'NEW')}, v_id, v_placeholder)
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
  const { columns, types, names } = reference
  const original = `jsonb_build_array(${keyOfReference(target, reference, 'NEW')})`
  const originalText = target.key.length === 1 ? `${original} ->> 0` : `${original}::text`
  const assignments = columns.map((column, index) => {
    const place = keyPlace(target, reference, index)
    const value = target.key.length === 1 ? 'v_kept' : `(v_kept::jsonb ->> ${place})`
    return `NEW.${column} := ${value}::${types[index]};`
  })
  return `CREATE OR REPLACE FUNCTION ${names.function}() RETURNS trigger ${functionSettings(target)} AS $reference$
DECLARE
  v_kept text;
BEGIN
  IF ${columns.map((column) => `NEW.${column} IS NULL`).join(' OR ')} THEN
    RETURN NEW;
  END IF;
  PERFORM FROM ${target.sql} t WHERE ${joinCondition(reference, 'NEW', 't')} FOR KEY SHARE;
  IF NOT FOUND THEN
    SELECT q.kept_id INTO v_kept FROM ${target.quarantine} q
    WHERE q.source_table = ${quoteText(target.name)} AND q.original_id = ${originalText} ORDER BY q.id DESC LIMIT 1;
    IF v_kept IS NOT NULL THEN
      ${assignments.join('\n      ')}
    END IF;
  END IF;
  RETURN NEW;
END $reference$`
}

export function referenceTrigger({ names, sql, columns }: Reference): string {
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

function keyPlace({ key }: Target, { referenced }: Reference, index: number): number {
  return key.findIndex(({ sql }) => sql === referenced[index])
}
