/** Contacts that were merged, and what splitting them again can give back. */
import { type Kysely, sql, type Transaction } from 'kysely'
import { phoneDigits, phoneKey } from '../../core/phone.ts'
import { type Identifier, isUserId } from '../contacts/identifiers.ts'
import type { Database } from '../schema.ts'

/** A contact that was merged into another one. */
export type MergedContact = {
  id: string
  name: string | null
  /** The contact that it is part of now. */
  survivor_id: string
  survivor_name: string | null
  /** Null: an earlier version merged it, and did not record what was whose. */
  merged_at: Date | null
  merge_id: string | null
}

type Reader = Kysely<Database> | Transaction<Database>

/**
 * The contacts that a text names: the id of a contact, a phone number (with `+`, or digits that are no contact's id), or a user
 * id. Survivors and merged contacts both; empty when there is none.
 */
export async function findContacts(db: Reader, text: string): Promise<string[]> {
  if (/^\d{1,18}$/.test(text)) {
    const { rows } = await sql<{ id: string }>`SELECT id FROM contacts WHERE id = ${text}`.execute(db)
    if (rows.length > 0) return rows.map(({ id }) => id)
  }
  const digits = phoneDigits(text)
  const values = digits === undefined ? [text] : [phoneKey(digits)]
  const { rows } = await sql<{ contact_id: string }>`
    SELECT DISTINCT contact_id FROM contact_identifiers
    WHERE kind IN ('phone', 'user_id', 'parent_user_id') AND value = ANY (${values}::text[]) ORDER BY 1`.execute(
    db,
  )
  return rows.map(({ contact_id }) => contact_id)
}

/** The contact itself if it was merged, else all that were merged into it; the latest merge first. */
export async function findMerged(db: Reader, contactId: string): Promise<MergedContact[]> {
  const { rows } = await sql<MergedContact>`
    SELECT c.id, c.name, s.id AS survivor_id, s.name AS survivor_name, m.merged_at, m.id AS merge_id
    FROM contacts c JOIN contacts s ON s.id = c.merged_into
    LEFT JOIN LATERAL (
      SELECT id, merged_at FROM contact_merges WHERE loser_id = c.id ORDER BY id DESC LIMIT 1
    ) m ON true
    WHERE c.id = ${contactId} OR c.merged_into = ${contactId}
    ORDER BY m.id DESC NULLS LAST, c.id`.execute(db)
  return rows
}

/** The contact with all that had been merged into it before it was merged itself: they go with it. */
export async function findFamily(
  db: Reader,
  { id, survivor_id, merge_id }: MergedContact,
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    WITH RECURSIVE family (id) AS (
      SELECT ${id}::bigint
      UNION
      SELECT m.loser_id FROM family f
      JOIN contact_merges m ON m.survivor_id = f.id AND m.id < ${merge_id}
      JOIN contacts c ON c.id = m.loser_id AND c.merged_into = ${survivor_id}
    )
    SELECT id::text FROM family ORDER BY family.id`.execute(db)
  return rows.map((row) => row.id)
}

export type FamilyConversation = {
  id: string
  provider: string
  business_number: string
  /** The contact that had it before the merge. */
  owner_id: string
  /** The conversation that it is part of; null: it is on its own, with all that came since. */
  merged_into: string | null
}

export async function findConversations(
  db: Reader,
  family: readonly string[],
): Promise<FamilyConversation[]> {
  const { rows } = await sql<FamilyConversation>`
    SELECT id, provider, business_number, coalesce(original_contact_id, contact_id) AS owner_id, merged_into
    FROM conversations
    WHERE (contact_id = ANY (${family}::bigint[]) AND original_contact_id IS NULL)
      OR original_contact_id = ANY (${family}::bigint[])
    ORDER BY id`.execute(db)
  return rows
}

export async function findIdentifiers(
  db: Reader,
  { survivor_id }: MergedContact,
  family: readonly string[],
): Promise<{ returned: Identifier[]; kept: Identifier[] }> {
  const { rows } = await sql<Identifier & { is_returned: boolean | null }>`
    SELECT kind, value, original_contact_id = ANY (${family}::bigint[]) AS is_returned FROM contact_identifiers
    WHERE contact_id = ${survivor_id} ORDER BY kind, value`.execute(db)
  const part = (isReturned: boolean) =>
    rows
      .filter((row) => (row.is_returned === true) === isReturned)
      .map(({ kind, value }) => ({ kind, value }))
  return { returned: part(true), kept: part(false) }
}

/** What a split would do. */
export type SplitPreview = {
  contact: MergedContact
  identifiers: { returned: Identifier[]; kept: Identifier[] }
  conversations: {
    /** Become conversations of their own again. */
    separated: number
    /** Go over to the contact whole, with messages that came since the merge. */
    whole: number
  }
  /** Messages that were in the contact's conversations before the merge. */
  messages: number
  /** Messages that came since, which go back only if they name a user id of the contact. */
  since: number
  /** A phone number alone could join the two again: at least one of them has no user id. */
  isRejoinable: boolean
}

export async function previewSplit(db: Reader, contact: MergedContact): Promise<SplitPreview> {
  const family = await findFamily(db, contact)
  const conversations = await findConversations(db, family)
  const identifiers = await findIdentifiers(db, contact, family)
  const inOthers = conversations.filter(({ merged_into }) => merged_into !== null)
  const ids = inOthers.map(({ id }) => id)
  const hosts = inOthers.map(({ merged_into }) => merged_into)
  const { rows } = await sql<{ messages: string; since: string }>`
    SELECT count(*) FILTER (WHERE original_conversation_id = ANY (${ids}::bigint[]) OR conversation_id = ANY (${ids}::bigint[])) AS messages,
      count(*) FILTER (WHERE original_conversation_id IS NULL AND conversation_id <> ALL (${ids}::bigint[])
        AND created_at >= ${contact.merged_at}) AS since
    FROM chat_messages WHERE conversation_id = ANY (${[...ids, ...hosts]}::bigint[])`.execute(db)
  return {
    contact,
    identifiers,
    conversations: {
      separated: groupByNumber(inOthers).length,
      whole: conversations.length - inOthers.length,
    },
    messages: Number(rows[0]?.messages ?? 0),
    since: Number(rows[0]?.since ?? 0),
    isRejoinable: !identifiers.returned.some(isUserId) || !identifiers.kept.some(isUserId),
  }
}

/** The conversations with one number of ours: they become one again. */
export function groupByNumber(conversations: readonly FamilyConversation[]): FamilyConversation[][] {
  const key = ({ provider, business_number }: FamilyConversation) =>
    JSON.stringify([provider, business_number])
  return [...Map.groupBy(conversations, key).values()]
}
