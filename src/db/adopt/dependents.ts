/**
 * What uses a column whose type has to change. PostgreSQL refuses to change the type while a view, a trigger that names the
 * column, a policy, a computed column, a publication with a condition, or a function with a body in SQL uses it. The
 * operator drops these first and makes them again afterwards.
 */
import type { Query } from '../any-table/query.ts'
import type { ColumnShape, TableShape } from './shape.ts'

type Dependent = {
  /** Its kind and name. */
  what: string
  /** The columns of the table that it uses. */
  columns: string[]
  drop: string
  /** The statement that makes it again; null where `definition` shows it. */
  again: string | null
  /** The psql command that shows its definition. */
  definition: string | null
}

/** One line each, with the next command. */
export async function findDependents(
  query: Query,
  { oid, name }: TableShape,
  columns: readonly ColumnShape[],
): Promise<string[]> {
  if (columns.length === 0) return []
  const { rows } = await query<Dependent>(DEPENDENTS, [oid, columns.map((column) => column.name)])
  return rows.map(({ what, columns: used, drop, again, definition }) => {
    const uses = used.map((column) => `${name}.${column}`).join(', ')
    const reason = `${what} uses ${uses}, whose type has to change; run: ${drop}`
    return again === null
      ? `${reason} (note its definition first: ${definition}), and make it again afterwards`
      : `${reason}; and afterwards: ${again}`
  })
}

/** Up to PostgreSQL 14 the computed column itself depends on the other column, later its expression does. */
const DEPENDENTS = `
  WITH used AS (
    SELECT d.classid, d.objid, CASE d.classid WHEN 'pg_class'::regclass THEN d.objsubid ELSE 0 END AS part,
      array_agg(DISTINCT a.attname::text ORDER BY a.attname::text) AS columns
    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND a.attname = ANY($2::text[]) GROUP BY 1, 2, 3
  ), views AS (
    SELECT DISTINCT v.oid::regclass::text AS name, u.columns,
      CASE v.relkind WHEN 'm' THEN 'materialized view' WHEN 'r' THEN 'table' ELSE 'view' END AS kind
    FROM used u JOIN pg_rewrite r ON r.oid = u.objid AND u.classid = 'pg_rewrite'::regclass
    JOIN pg_class v ON v.oid = r.ev_class WHERE v.oid <> $1::oid
  ), computed AS (
    SELECT DISTINCT u.columns, t.oid::regclass::text AS table, quote_ident(g.attname) AS name,
      format_type(g.atttypid, g.atttypmod) AS type, pg_get_expr(f.adbin, f.adrelid) AS expression
    FROM used u JOIN pg_attrdef f ON f.adrelid = $1::oid AND (
      (u.classid = 'pg_attrdef'::regclass AND f.oid = u.objid)
      OR (u.classid = 'pg_class'::regclass AND u.objid = $1::oid AND f.adnum = u.part))
    JOIN pg_attribute g ON g.attrelid = f.adrelid AND g.attnum = f.adnum AND g.attgenerated <> ''
    JOIN pg_class t ON t.oid = f.adrelid
  )
  SELECT 'the ' || kind || ' ' || name AS what, columns, 'DROP ' || upper(kind) || ' ' || name AS drop,
    NULL AS again, '\\d+ ' || name AS definition FROM views
  UNION ALL SELECT 'the computed column ' || name, columns, format('ALTER TABLE %s DROP COLUMN %s', "table", name),
    format('ALTER TABLE %s ADD COLUMN %s %s GENERATED ALWAYS AS (%s) STORED', "table", name, type, expression), NULL FROM computed
  UNION ALL SELECT format('the trigger %I', t.tgname), u.columns, format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass),
    pg_get_triggerdef(t.oid), NULL
    FROM used u JOIN pg_trigger t ON t.oid = u.objid AND u.classid = 'pg_trigger'::regclass AND NOT t.tgisinternal
  UNION ALL SELECT format('the policy %I', p.polname), u.columns, format('DROP POLICY %I ON %s', p.polname, p.polrelid::regclass),
    NULL, '\\d ' || p.polrelid::regclass::text
    FROM used u JOIN pg_policy p ON p.oid = u.objid AND u.classid = 'pg_policy'::regclass
  UNION ALL SELECT format('the publication %I', p.pubname), u.columns,
    format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, r.prrelid::regclass), NULL, format('\\dRp+ %I', p.pubname)
    FROM used u JOIN pg_publication_rel r ON r.oid = u.objid AND u.classid = 'pg_publication_rel'::regclass
    JOIN pg_publication p ON p.oid = r.prpubid
  UNION ALL SELECT 'the function ' || u.objid::regprocedure, u.columns, 'DROP FUNCTION ' || u.objid::regprocedure,
    NULL, '\\sf ' || u.objid::regprocedure FROM used u WHERE u.classid = 'pg_proc'::regclass
  ORDER BY 1`
