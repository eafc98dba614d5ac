/** What a run needs of the server and of this role, checked before anything is changed. */

import type { Query } from '../any-table/query.ts'
import { labelOf, type Reference } from '../any-table/references.ts'
import type { Target } from '../any-table/target.ts'
import { temporaryNames } from './leftovers.ts'

/** Returns what is missing, one line each with the next step. */
export async function findMissingPrivileges(
  query: Query,
  target: Target,
  references: readonly Reference[],
): Promise<string[]> {
  const obstacles = [
    ...(await findServerObstacles(query)),
    ...(await findOwnership(query, target, references)),
    ...(await findLeftoverOwnership(query, target)),
    ...(await findSchemaObstacles(query, target, references)),
  ]
  const hidden = [
    ...((await isRowSecurityActive(query, target)) ? [target.label] : []),
    ...references.filter(({ isRowSecurityActive: isActive }) => isActive).map(({ table }) => table),
  ]
  for (const table of new Set(hidden)) {
    obstacles.push(
      `row security hides rows of ${table} from this role, so some would be missed; run this as a role with BYPASSRLS, or: ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY`,
    )
  }
  return obstacles
}

/** PostgreSQL itself: too old, or a standby. One line each with the next step. */
export async function findServerObstacles(query: Query): Promise<string[]> {
  const { rows } = await query<{ version: number; is_standby: boolean }>(
    `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS is_standby`,
  )
  const obstacles: string[] = []
  if (rows[0] && rows[0].version < 130_000)
    obstacles.push(`PostgreSQL ${Math.floor(rows[0].version / 10_000)} is too old; 13 or later is needed`)
  if (rows[0]?.is_standby)
    obstacles.push('this server is a read-only standby; set DATABASE_URL to the primary')
  return obstacles
}

/** Only the owner of a table can make indexes and triggers. */
async function findOwnership(
  query: Query,
  target: Target,
  references: readonly Reference[],
): Promise<string[]> {
  const { rows } = await query<{ table: string; owner: string; role: string; oid: string }>(
    `SELECT c.oid::text AS oid, c.oid::regclass::text AS "table", quote_ident(r.rolname) AS owner,
       quote_ident(current_user) AS role
     FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
     WHERE c.oid = ANY($1::oid[]) AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 2`,
    [[target.oid, ...references.map(({ tableOid }) => tableOid)]],
  )
  return rows.map(({ oid, table, owner, role }) => {
    const why =
      oid === target.oid
        ? 'build its index'
        : `re-point ${references
            .filter(({ tableOid }) => tableOid === oid)
            .map(labelOf)
            .join(', ')}`
    return `role ${role} does not own ${table}, so it cannot ${why}; connect as ${owner}, or run: GRANT ${owner} TO ${role}`
  })
}

/** An earlier run may have made its tables as another role. */
async function findLeftoverOwnership(query: Query, target: Target): Promise<string[]> {
  const { rows } = await query<{ table: string; owner: string; role: string }>(
    `SELECT c.oid::regclass::text AS "table", quote_ident(pg_get_userbyid(c.relowner)) AS owner,
       quote_ident(current_user) AS role
     FROM pg_class c WHERE c.oid IN (to_regclass($1), to_regclass($2)) AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1`,
    [target.quarantine, temporaryNames(target).deferred],
  )
  return rows.map(
    ({ table, owner, role }) =>
      `role ${role} does not own ${table}, which an earlier run has made as ${owner}; connect as ${owner}, or run: GRANT ${owner} TO ${role}`,
  )
}

/** A run makes a table for the moved rows, and functions and indexes in the schema of each referring table. */
async function findSchemaObstacles(
  query: Query,
  target: Target,
  references: readonly Reference[],
): Promise<string[]> {
  const { rows } = await query<{ name: string; role: string }>(
    `SELECT DISTINCT quote_ident(n.nspname) AS name, quote_ident(current_user) AS role
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = ANY($1::oid[]) AND NOT has_schema_privilege(n.oid, 'CREATE') ORDER BY 1`,
    [[target.oid, ...references.map(({ tableOid }) => tableOid)]],
  )
  return rows.map(
    ({ name, role }) =>
      `role ${role} may make nothing in schema ${name}; run: GRANT CREATE ON SCHEMA ${name} TO ${role}`,
  )
}

/** Whether row security hides rows of the table from this role. */
export async function isRowSecurityActive(query: Query, { oid }: { oid: string }): Promise<boolean> {
  const { rows } = await query<{ is_active: boolean }>('SELECT row_security_active($1::oid) AS is_active', [
    oid,
  ])
  return rows[0]?.is_active === true
}
