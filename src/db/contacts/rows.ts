/**
 * Rows of `contacts` and `contact_identifiers`, read and written in bulk: one statement each, whatever the size of the batch.
 *
 * Every statement locks its rows in one order, so that two writers of the same rows wait in line and cannot deadlock.
 */
import { sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'
import { type Identifier, identifierKey } from './identifiers.ts'
import type { Assignment, Contact, IdentityMap } from './identity-map.ts'
import type { ContactPlan } from './plan.ts'
import { UNKNOWN_ACCOUNT } from './portfolios.ts'

type LoadedRow = Identifier & {
  retired_at: Date | null
  first_used_at: Date
  last_used_at: Date
  first_linked_at: Date | null
  last_linked_at: Date | null
  account: string | null
  contact_id: string
  name: string | null
  username: string | null
  phone: string | null
  updated_at: Date
}

/** The stored assignments of these identifiers, with their contacts. A merged contact is replaced by its survivor. */
export async function loadIdentityMap(
  trx: Transaction<Database>,
  identifiers: readonly Identifier[],
): Promise<IdentityMap> {
  const distinct = [
    ...new Map(identifiers.map((identifier) => [identifierKey(identifier), identifier])).values(),
  ]
  const { rows } = await sql<LoadedRow>`
    SELECT i.kind, i.value, nullif(i.retired_at, 'infinity') AS retired_at, i.first_used_at, i.last_used_at,
      i.first_linked_at, i.last_linked_at, i.account, p.id AS contact_id, p.name, p.username, p.phone, p.updated_at
    FROM unnest(${distinct.map(({ kind }) => kind)}::text[], ${distinct.map(({ value }) => value)}::text[]) AS k (kind, value)
    JOIN contact_identifiers i ON i.kind = k.kind AND i.value = k.value
    JOIN contacts c ON c.id = i.contact_id
    JOIN contacts p ON p.id = coalesce(c.merged_into, c.id)
    ORDER BY i.retired_at`.execute(trx)
  return buildIdentityMap(rows)
}

function buildIdentityMap(rows: readonly LoadedRow[]): IdentityMap {
  const contacts = new Map<string, Contact>()
  const assignments = new Map<string, Assignment[]>()
  for (const row of rows) {
    const contact = contacts.get(row.contact_id) ?? readContact(row)
    contacts.set(row.contact_id, contact)
    const stored = {
      retired_at: row.retired_at?.getTime() ?? Infinity,
      first_used_at: row.first_used_at.getTime(),
      last_used_at: row.last_used_at.getTime(),
      first_linked_at: row.first_linked_at?.getTime(),
      last_linked_at: row.last_linked_at?.getTime(),
      account: row.account ?? UNKNOWN_ACCOUNT,
    }
    const assignment = { kind: row.kind, value: row.value, contact, ...stored, stored }
    assignments.set(identifierKey(row), [...(assignments.get(identifierKey(row)) ?? []), assignment])
  }
  return {
    contacts: [...contacts.values()],
    assignments,
    portfolios: { known: new Map(), isChanged: false },
    splits: new Set(),
  }
}

function readContact(row: LoadedRow): Contact {
  return {
    id: row.contact_id,
    name: row.name,
    username: row.username,
    phone: row.phone,
    profile_at: row.updated_at.getTime(),
    dirtyFields: new Set(),
    accounts: [],
    firstUserId: undefined,
    storedUserIds: 0,
  }
}

/**
 * Inserts new contacts and identifiers. Returns the ids of `plan.newContacts`, in their order. Undefined: another transaction
 * has just stored one of the identifiers, so this one has to roll back and load everything again.
 *
 * The primary key decides the race: the insert waits for the other transaction, and then skips the row.
 */
export async function insertContacts(
  trx: Transaction<Database>,
  plan: ContactPlan,
): Promise<string[] | undefined> {
  const contacts = plan.newContacts.map(({ name, username, phone, profile_at }, ord) => {
    return { ord, name, username, phone, profile_at: timestamp(profile_at) }
  })
  const identifiers = plan.newAssignments.map((assignment) => ({
    ...identifierRow(assignment),
    ord: plan.newContacts.indexOf(assignment.contact),
    contact_id: assignment.contact.id,
  }))
  const { rows } = await sql<{ ids: string[] | null; inserted: number }>`
    WITH new_contact AS MATERIALIZED (
      SELECT p.*, nextval(pg_get_serial_sequence('contacts', 'id')) AS id
      FROM json_to_recordset(${JSON.stringify(contacts)}::json)
        AS p (ord integer, name text, username text, phone text, profile_at timestamptz)
    ), inserted_contacts AS (
      INSERT INTO contacts (id, name, username, phone, updated_at)
      SELECT id, name, username, phone, coalesce(profile_at, now()) FROM new_contact
    ), inserted AS (
      INSERT INTO contact_identifiers (kind, value, retired_at, contact_id, first_used_at, last_used_at,
        first_linked_at, last_linked_at, account)
      SELECT i.kind, i.value, i.retired_at, coalesce(i.contact_id, new_contact.id), i.first_used_at, i.last_used_at,
        i.first_linked_at, i.last_linked_at, i.account
      FROM json_to_recordset(${JSON.stringify(identifiers)}::json)
        AS i (kind text, value text, retired_at timestamptz, contact_id bigint, ord integer,
          first_used_at timestamptz, last_used_at timestamptz, first_linked_at timestamptz,
          last_linked_at timestamptz, account text)
      LEFT JOIN new_contact ON new_contact.ord = i.ord
      ORDER BY i.kind COLLATE "C", i.value COLLATE "C", i.retired_at
      ON CONFLICT (kind, value, retired_at) DO NOTHING
      RETURNING 1
    )
    SELECT (SELECT array_agg(id::text ORDER BY ord) FROM new_contact) AS ids,
      (SELECT count(*)::integer FROM inserted) AS inserted`.execute(trx)
  const [row] = rows
  return row?.inserted === identifiers.length ? (row.ids ?? []) : undefined
}

/** Writes dirty fields. Where two writers meet, the later sighting of a field wins. */
export async function updateProfiles(
  trx: Transaction<Database>,
  contacts: readonly Contact[],
): Promise<void> {
  if (contacts.length === 0) return
  const profiles = contacts.map(dirtyProfile)
  await sql`
    WITH seen AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(profiles)}::json)
        AS s (id bigint, name text, username text, phone text, profile_at timestamptz)
    ), locked AS MATERIALIZED (
      SELECT c.id FROM contacts c JOIN seen s ON s.id = c.id ORDER BY c.id FOR NO KEY UPDATE OF c
    )
    UPDATE contacts c SET
      name = CASE WHEN s.profile_at >= c.updated_at THEN coalesce(s.name, c.name) ELSE coalesce(c.name, s.name) END,
      username = CASE WHEN s.profile_at >= c.updated_at THEN coalesce(s.username, c.username)
        ELSE coalesce(c.username, s.username) END,
      phone = CASE WHEN s.profile_at >= c.updated_at THEN coalesce(s.phone, c.phone)
        ELSE coalesce(c.phone, s.phone) END,
      updated_at = greatest(c.updated_at, s.profile_at)
    FROM seen s JOIN locked USING (id)
    WHERE c.id = s.id`.execute(trx)
}

/** Writes first and last use. A row that another transaction has locked is skipped: it is writing a use too. */
export async function updateUses(
  trx: Transaction<Database>,
  assignments: readonly Assignment[],
): Promise<void> {
  if (assignments.length === 0) return
  await sql`
    WITH used AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(assignments.map(identifierRow))}::json)
        AS u (kind text, value text, retired_at timestamptz, first_used_at timestamptz, last_used_at timestamptz,
          last_linked_at timestamptz, account text)
    ), locked AS MATERIALIZED (
      SELECT i.kind, i.value, i.retired_at FROM contact_identifiers i JOIN used u USING (kind, value, retired_at)
      FOR NO KEY UPDATE OF i SKIP LOCKED
    )
    UPDATE contact_identifiers i SET
      first_used_at = least(i.first_used_at, u.first_used_at),
      last_used_at = greatest(i.last_used_at, u.last_used_at),
      last_linked_at = greatest(i.last_linked_at, u.last_linked_at),
      account = coalesce(i.account, u.account)
    FROM used u JOIN locked USING (kind, value, retired_at)
    WHERE i.kind = u.kind AND i.value = u.value AND i.retired_at = u.retired_at`.execute(trx)
}

/**
 * Writes when phones were seen with a user id. It waits for rows that others have locked: the first time decides whose a
 * number is, so it is exact. Call it after `insertContacts`, before contacts are locked.
 */
export async function updateLinks(
  trx: Transaction<Database>,
  assignments: readonly Assignment[],
): Promise<void> {
  if (assignments.length === 0) return
  await sql`
    WITH linked AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(assignments.map(identifierRow))}::json)
        AS l (kind text, value text, retired_at timestamptz, first_linked_at timestamptz, last_linked_at timestamptz)
    ), locked AS MATERIALIZED (
      SELECT i.kind, i.value, i.retired_at
      FROM contact_identifiers i JOIN linked l ON i.kind = l.kind AND i.value = l.value AND i.retired_at = l.retired_at
      ORDER BY i.kind COLLATE "C", i.value COLLATE "C", i.retired_at FOR NO KEY UPDATE OF i
    )
    UPDATE contact_identifiers i SET
      first_linked_at = least(i.first_linked_at, l.first_linked_at),
      last_linked_at = greatest(i.last_linked_at, l.last_linked_at)
    FROM linked l JOIN locked USING (kind, value, retired_at)
    WHERE i.kind = l.kind AND i.value = l.value AND i.retired_at = l.retired_at`.execute(trx)
}

/** Writes the ends of assignments. Needs the exclusive merge lock. */
export async function updateRetirements(
  trx: Transaction<Database>,
  assignments: readonly Assignment[],
): Promise<void> {
  if (assignments.length === 0) return
  const retirements = assignments.map((assignment) => ({
    ...identifierRow(assignment),
    stored_retired_at: timestamp(assignment.stored?.retired_at ?? Infinity),
  }))
  await sql`
    UPDATE contact_identifiers i SET retired_at = r.retired_at
    FROM json_to_recordset(${JSON.stringify(retirements)}::json)
      AS r (kind text, value text, retired_at timestamptz, stored_retired_at timestamptz)
    WHERE i.kind = r.kind AND i.value = r.value AND i.retired_at = r.stored_retired_at`.execute(trx)
}

function identifierRow(assignment: Assignment) {
  const { kind, value, account } = assignment
  return {
    kind,
    value,
    retired_at: timestamp(assignment.retired_at),
    first_used_at: timestamp(assignment.first_used_at),
    last_used_at: timestamp(assignment.last_used_at),
    first_linked_at: timestamp(assignment.first_linked_at),
    last_linked_at: timestamp(assignment.last_linked_at),
    account: account === UNKNOWN_ACCOUNT ? null : account,
  }
}

/** Null for a clean field, so that the statement keeps what another transaction may just have written there. */
function dirtyProfile(contact: Contact) {
  const { name, username, phone, dirtyFields, profile_at } = contact
  return {
    id: contact.id,
    name: dirtyFields.has('name') ? name : null,
    username: dirtyFields.has('username') ? username : null,
    phone: dirtyFields.has('phone') ? phone : null,
    profile_at: timestamp(profile_at),
  }
}

function timestamp(ms: number | undefined): string | null {
  if (ms === undefined) return null
  return ms === Infinity ? 'infinity' : new Date(ms).toISOString()
}
