/**
 * Reading and writing contacts and their identifiers, in bulk: one statement each, whatever the size of the batch.
 *
 * Every statement takes its rows in one order, so that two writers who need the same rows queue up instead of blocking
 * each other.
 */
import { sql, type Transaction } from 'kysely'
import type { Database } from '../schema.ts'
import type { Identifier } from './identifiers.ts'
import { bookKey, type ContactBook, type Ownership, type Person } from './identity-map.ts'
import type { ContactPlan } from './plan.ts'

type LoadedRow = Identifier & {
  retired_at: Date | null
  first_used_at: Date
  last_used_at: Date
  contact_id: string
  name: string | null
  username: string | null
  phone: string | null
  updated_at: Date
}

/** Everything stored about these identifiers. Contacts that were merged appear as what they became. */
export async function loadContactBook(
  trx: Transaction<Database>,
  identifiers: readonly Identifier[],
): Promise<ContactBook> {
  const distinct = [...new Map(identifiers.map((identifier) => [bookKey(identifier), identifier])).values()]
  const { rows } = await sql<LoadedRow>`
    SELECT i.kind, i.value, nullif(i.retired_at, 'infinity') AS retired_at, i.first_used_at, i.last_used_at,
      p.id AS contact_id, p.name, p.username, p.phone, p.updated_at
    FROM unnest(${distinct.map(({ kind }) => kind)}::text[], ${distinct.map(({ value }) => value)}::text[]) AS k (kind, value)
    JOIN contact_identifiers i ON i.kind = k.kind AND i.value = k.value
    JOIN contacts c ON c.id = i.contact_id
    JOIN contacts p ON p.id = coalesce(c.merged_into, c.id)
    ORDER BY i.retired_at`.execute(trx)
  return readContactBook(rows)
}

function readContactBook(rows: readonly LoadedRow[]): ContactBook {
  const people = new Map<string, Person>()
  const ownerships = new Map<string, Ownership[]>()
  for (const row of rows) {
    const person = people.get(row.contact_id) ?? readPerson(row)
    people.set(row.contact_id, person)
    const stored = {
      retired_at: row.retired_at?.getTime() ?? Infinity,
      first_used_at: row.first_used_at.getTime(),
      last_used_at: row.last_used_at.getTime(),
    }
    const ownership = { kind: row.kind, value: row.value, person, ...stored, stored }
    ownerships.set(bookKey(row), [...(ownerships.get(bookKey(row)) ?? []), ownership])
  }
  return { people: [...people.values()], ownerships }
}

function readPerson(row: LoadedRow): Person {
  return {
    id: row.contact_id,
    name: row.name,
    username: row.username,
    phone: row.phone,
    profile_at: row.updated_at.getTime(),
    news: new Set(),
  }
}

/**
 * Writes new contacts and identifiers. Gives the new contacts' ids in the order of `plan.newPeople`, or undefined when
 * somebody else has just stored one of the identifiers: then everything has to be looked up again.
 *
 * The primary key decides the race: the insert waits for the other transaction in flight and then skips the row.
 */
export async function insertContacts(
  trx: Transaction<Database>,
  plan: ContactPlan,
): Promise<string[] | undefined> {
  const people = plan.newPeople.map(({ name, username, phone, profile_at }, ord) => {
    return { ord, name, username, phone, profile_at: timestamp(profile_at) }
  })
  const identifiers = plan.newOwnerships.map((ownership) => ({
    ...identifierRow(ownership),
    ord: plan.newPeople.indexOf(ownership.person),
    contact_id: ownership.person.id,
  }))
  const { rows } = await sql<{ ids: string[] | null; inserted: number }>`
    WITH person AS MATERIALIZED (
      SELECT p.*, nextval(pg_get_serial_sequence('contacts', 'id')) AS id
      FROM json_to_recordset(${JSON.stringify(people)}::json)
        AS p (ord integer, name text, username text, phone text, profile_at timestamptz)
    ), inserted_contacts AS (
      INSERT INTO contacts (id, name, username, phone, updated_at)
      SELECT id, name, username, phone, coalesce(profile_at, now()) FROM person
    ), inserted AS (
      INSERT INTO contact_identifiers (kind, value, retired_at, contact_id, first_used_at, last_used_at)
      SELECT i.kind, i.value, i.retired_at, coalesce(i.contact_id, person.id), i.first_used_at, i.last_used_at
      FROM json_to_recordset(${JSON.stringify(identifiers)}::json)
        AS i (kind text, value text, retired_at timestamptz, contact_id bigint, ord integer,
          first_used_at timestamptz, last_used_at timestamptz)
      LEFT JOIN person ON person.ord = i.ord
      ORDER BY i.kind COLLATE "C", i.value COLLATE "C", i.retired_at
      ON CONFLICT (kind, value, retired_at) DO NOTHING
      RETURNING 1
    )
    SELECT (SELECT array_agg(id::text ORDER BY ord) FROM person) AS ids,
      (SELECT count(*)::integer FROM inserted) AS inserted`.execute(trx)
  const [row] = rows
  return row?.inserted === identifiers.length ? (row.ids ?? []) : undefined
}

/** Name, username and phone: the later sighting wins here too, when two writers come together. */
export async function updateProfiles(trx: Transaction<Database>, people: readonly Person[]): Promise<void> {
  if (people.length === 0) return
  const profiles = people.map(newsOf)
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

/** Moves first and last use. Rows that another writer is moving at this moment are left to him. */
export async function updateUses(
  trx: Transaction<Database>,
  ownerships: readonly Ownership[],
): Promise<void> {
  if (ownerships.length === 0) return
  await sql`
    WITH used AS MATERIALIZED (
      SELECT * FROM json_to_recordset(${JSON.stringify(ownerships.map(identifierRow))}::json)
        AS u (kind text, value text, retired_at timestamptz, first_used_at timestamptz, last_used_at timestamptz)
    ), locked AS MATERIALIZED (
      SELECT i.kind, i.value, i.retired_at FROM contact_identifiers i JOIN used u USING (kind, value, retired_at)
      FOR NO KEY UPDATE OF i SKIP LOCKED
    )
    UPDATE contact_identifiers i SET
      first_used_at = least(i.first_used_at, u.first_used_at),
      last_used_at = greatest(i.last_used_at, u.last_used_at)
    FROM used u JOIN locked USING (kind, value, retired_at)
    WHERE i.kind = u.kind AND i.value = u.value AND i.retired_at = u.retired_at`.execute(trx)
}

/** Moves the ends of ownerships. Only behind `lockForMerging`. */
export async function updateRetirements(
  trx: Transaction<Database>,
  ownerships: readonly Ownership[],
): Promise<void> {
  if (ownerships.length === 0) return
  const retirements = ownerships.map((ownership) => ({
    ...identifierRow(ownership),
    stored_retired_at: timestamp(ownership.stored?.retired_at ?? Infinity),
  }))
  await sql`
    UPDATE contact_identifiers i SET retired_at = r.retired_at
    FROM json_to_recordset(${JSON.stringify(retirements)}::json)
      AS r (kind text, value text, retired_at timestamptz, stored_retired_at timestamptz)
    WHERE i.kind = r.kind AND i.value = r.value AND i.retired_at = r.stored_retired_at`.execute(trx)
}

function identifierRow({ kind, value, retired_at, first_used_at, last_used_at }: Ownership) {
  return {
    kind,
    value,
    retired_at: timestamp(retired_at),
    first_used_at: timestamp(first_used_at),
    last_used_at: timestamp(last_used_at),
  }
}

/** What did not change is left to whoever changes it at this moment. */
function newsOf(person: Person) {
  const { name, username, phone, news, profile_at } = person
  return {
    id: person.id,
    name: news.has('name') ? name : null,
    username: news.has('username') ? username : null,
    phone: news.has('phone') ? phone : null,
    profile_at: timestamp(profile_at),
  }
}

function timestamp(ms: number | undefined): string | null {
  if (ms === undefined) return null
  return ms === Infinity ? 'infinity' : new Date(ms).toISOString()
}
