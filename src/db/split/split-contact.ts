/**
 * Undoes a merge of contacts: one short transaction gives the contact its identifiers and conversations back, then the messages
 * follow in steps (move-back.ts). Writers go on meanwhile.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import { announce } from '../announce.ts'
import { advanceContactEpoch, lockMergesExclusive } from '../contacts/merge-lock.ts'
import { retryConflicts } from '../retry-conflicts.ts'
import type { Database } from '../schema.ts'
import {
  type FamilyConversation,
  findConversations,
  findFamily,
  findMerged,
  groupByNumber,
  type MergedContact,
} from './merged-contacts.ts'

/**
 * Makes the contact one of its own again. Returns the id of the row in `contact_splits`; undefined when the contact is not
 * merged (any more), or when what was whose is not recorded.
 */
export async function splitContact(db: Kysely<Database>, contactId: string): Promise<string | undefined> {
  return retryConflicts(() =>
    db.transaction().execute(async (trx) => {
      await lockMergesExclusive(trx)
      const contact = (await findMerged(trx, contactId)).find(({ id }) => id === contactId)
      if (contact === undefined || contact.merge_id === null) return undefined
      await advanceContactEpoch(trx)
      const family = await findFamily(trx, contact)
      await sql`
        SELECT id FROM contacts WHERE id = ANY (${[...family, contact.survivor_id]}::bigint[]) ORDER BY id FOR UPDATE`.execute(
        trx,
      )
      await returnIdentifiers(trx, contact, family)
      await restoreProfile(trx, contact)
      const splitId = await recordSplit(trx, contact)
      await separateConversations(trx, contact, await findConversations(trx, family), splitId)
      return splitId
    }),
  )
}

async function returnIdentifiers(
  trx: Transaction<Database>,
  { id, survivor_id }: MergedContact,
  family: readonly string[],
): Promise<void> {
  await sql`UPDATE contacts SET merged_into = nullif(${id}::bigint, id) WHERE id = ANY (${family}::bigint[])`.execute(
    trx,
  )
  await sql`
    UPDATE contact_identifiers
    SET contact_id = ${id}, original_contact_id = nullif(original_contact_id, ${id}::bigint)
    WHERE contact_id = ${survivor_id} AND original_contact_id = ANY (${family}::bigint[])`.execute(trx)
}

/** Gives the survivor the name, username and phone back that it had before, where it shows those of the contact. */
async function restoreProfile(
  trx: Transaction<Database>,
  { id, survivor_id, merge_id }: MergedContact,
): Promise<void> {
  await sql`
    UPDATE contacts s SET
      name = CASE WHEN s.name IS NOT DISTINCT FROM c.name THEN m.survivor_name ELSE s.name END,
      username = CASE WHEN s.username IS NOT DISTINCT FROM c.username THEN m.survivor_username ELSE s.username END,
      phone = CASE WHEN s.phone IS NOT DISTINCT FROM c.phone THEN m.survivor_phone ELSE s.phone END
    FROM contacts c, contact_merges m
    WHERE s.id = ${survivor_id} AND c.id = ${id} AND m.id = ${merge_id} AND m.survivor_id = s.id`.execute(trx)
}

async function recordSplit(
  trx: Transaction<Database>,
  { id, survivor_id, merged_at }: MergedContact,
): Promise<string> {
  const { rows } = await sql<{ id: string }>`
    INSERT INTO contact_splits (contact_id, other_id, merged_at) VALUES (${id}, ${survivor_id}, ${merged_at})
    RETURNING id`.execute(trx)
  return rows[0]?.id ?? ''
}

async function separateConversations(
  trx: Transaction<Database>,
  contact: MergedContact,
  conversations: readonly FamilyConversation[],
  splitId: string,
): Promise<void> {
  const ids = conversations.map(({ id }) => id)
  await sql`SELECT id FROM conversations WHERE id = ANY (${ids}::bigint[]) ORDER BY id FOR NO KEY UPDATE`.execute(
    trx,
  )
  const groups = groupByNumber(conversations).map((group) => {
    const [root, ...others] = group.toSorted((a, b) => rankOf(a, contact) - rankOf(b, contact))
    return { root: root as FamilyConversation, others }
  })
  const roots = groups.map(({ root }) => root.id)
  const others = groups.flatMap(({ root, others }) => others.map(({ id }) => ({ id, root: root.id })))
  await sql`
    UPDATE conversations SET merged_into = r.root FROM unnest(${others.map(({ id }) => id)}::bigint[], ${others.map(({ root }) => root)}::bigint[]) AS r (id, root)
    WHERE conversations.id = r.id`.execute(trx)
  await sql`
    WITH separated AS (
      UPDATE conversations SET merged_into = NULL, moving_since = NULL, contact_id = ${contact.id},
        original_contact_id = nullif(original_contact_id, ${contact.id}::bigint)
      WHERE id = ANY (${roots}::bigint[]) RETURNING id
    )
    ${announce('conversation.split', 'separated')}`.execute(trx)
  for (const { root } of groups)
    if (root.merged_into !== null)
      await beginMove(trx, { source: root.merged_into, target: root.id, splitId })
}

/** One that is on its own stays so; else the contact's own, then the oldest: as at the merge. */
function rankOf({ merged_into, owner_id }: FamilyConversation, contact: MergedContact): number {
  if (merged_into === null) return 0
  return owner_id === contact.id ? 1 : 2
}

/** Sends that wait go with the split itself: they are claimed in order within a conversation. */
async function beginMove(
  trx: Transaction<Database>,
  { source, target, splitId }: { source: string; target: string; splitId: string },
): Promise<void> {
  await sql`
    INSERT INTO conversation_splits (contact_split_id, source_id, target_id, last_message_id)
    SELECT ${splitId}, ${source}, ${target}, coalesce(max(id), 0) FROM chat_messages WHERE conversation_id = ${source}`.execute(
    trx,
  )
  await sql`
    WITH locked AS MATERIALIZED (
      SELECT id FROM chat_messages
      WHERE conversation_id = ${source} AND status IN ('queued', 'sending', 'unknown')
        AND original_conversation_id IN (SELECT id FROM conversations WHERE id = ${target} OR merged_into = ${target})
      ORDER BY wa_message_id, id FOR NO KEY UPDATE
    ), moved AS (
      UPDATE chat_messages m SET conversation_id = ${target},
        original_conversation_id = nullif(m.original_conversation_id, ${target}::bigint)
      FROM locked WHERE m.id = locked.id RETURNING m.id, m.conversation_id
    )
    ${announce('message.updated', 'moved')}`.execute(trx)
}
