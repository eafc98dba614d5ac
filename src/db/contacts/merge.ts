/**
 * Contacts that turned out to be one, and their conversations. Only behind `lockForMerging`: nobody else looks contacts
 * up or writes for them meanwhile. Nothing is deleted; what lost points at what it became, always in one step.
 */
import { sql, type Transaction } from 'kysely'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import type { Person } from './identity-map.ts'

/** The losers' identifiers and conversations become the survivors'. */
export async function mergeContacts(
  trx: Transaction<Database>,
  merges: readonly { loser: Person; survivor: Person }[],
): Promise<void> {
  if (merges.length === 0) return
  const losers = merges.map(({ loser }) => loser.id ?? '')
  const survivors = merges.map(({ survivor }) => survivor.id ?? '')
  await sql`SELECT id FROM contacts WHERE id = ANY (${[...losers, ...survivors]}::bigint[]) ORDER BY id FOR UPDATE`.execute(
    trx,
  )
  await sql`
    UPDATE contacts c SET merged_into = m.survivor
    FROM unnest(${losers}::bigint[], ${survivors}::bigint[]) AS m (loser, survivor)
    WHERE c.id = m.loser OR c.merged_into = m.loser`.execute(trx)
  await sql`
    UPDATE contact_identifiers i SET contact_id = m.survivor
    FROM unnest(${losers}::bigint[], ${survivors}::bigint[]) AS m (loser, survivor)
    WHERE i.contact_id = m.loser`.execute(trx)
  await mergeConversations(trx, losers, survivors)
}

type ConversationRow = {
  id: string
  provider: string
  business_number: string
  contact_id: string
  survivor: string
}

async function mergeConversations(
  trx: Transaction<Database>,
  losers: string[],
  survivors: string[],
): Promise<void> {
  const { rows } = await sql<ConversationRow>`
    SELECT v.id, v.provider, v.business_number, v.contact_id, coalesce(m.survivor, v.contact_id) AS survivor
    FROM conversations v
    LEFT JOIN unnest(${losers}::bigint[], ${survivors}::bigint[]) AS m (loser, survivor) ON m.loser = v.contact_id
    WHERE v.contact_id = ANY (${[...losers, ...survivors]}::bigint[]) AND v.merged_into IS NULL
    ORDER BY v.id FOR UPDATE OF v`.execute(trx)
  const groups = Map.groupBy(rows, (row) =>
    JSON.stringify([row.provider, row.business_number, row.survivor]),
  ).values()
  const moved: ConversationRow[] = []
  const joined: { from: string; to: string }[] = []
  for (const group of groups) {
    const [kept, ...others] = group.sort(byClaim)
    if (!kept) continue
    if (kept.contact_id !== kept.survivor) moved.push(kept)
    joined.push(...others.map(({ id }) => ({ from: id, to: kept.id })))
  }
  await joinConversations(trx, joined)
  await moveConversations(trx, moved)
}

/** The survivor's own conversation stays; where it has none, the oldest one does. */
function byClaim(a: ConversationRow, b: ConversationRow): number {
  const isOwn = ({ contact_id, survivor }: ConversationRow) => contact_id === survivor
  if (isOwn(a) !== isOwn(b)) return isOwn(a) ? -1 : 1
  return BigInt(a.id) < BigInt(b.id) ? -1 : 1
}

async function moveConversations(trx: Transaction<Database>, moved: ConversationRow[]): Promise<void> {
  if (moved.length === 0) return
  await sql`
    UPDATE conversations v SET contact_id = m.contact_id
    FROM unnest(${moved.map(({ id }) => id)}::bigint[], ${moved.map(({ survivor }) => survivor)}::bigint[])
      AS m (id, contact_id)
    WHERE v.id = m.id`.execute(trx)
}

/** Messages move over, and what nobody has read stays unread, at the price of showing a read one as unread. */
async function joinConversations(
  trx: Transaction<Database>,
  joined: readonly { from: string; to: string }[],
): Promise<void> {
  if (joined.length === 0) return
  const from = joined.map((pair) => pair.from)
  const to = joined.map((pair) => pair.to)
  await sql`
    WITH pair AS MATERIALIZED (
      SELECT * FROM unnest(${from}::bigint[], ${to}::bigint[]) AS p (loser, kept)
    ), member AS MATERIALIZED (
      SELECT v.id, coalesce(p.kept, v.id) AS kept, v.last_message_at, v.last_read_message_id, (
        SELECT min(m.id) FROM chat_messages m
        WHERE m.conversation_id = v.id AND m.direction = 'inbound' AND m.id > v.last_read_message_id
      ) AS first_unread_id
      FROM conversations v LEFT JOIN pair p ON p.loser = v.id
      WHERE v.id IN (SELECT loser FROM pair UNION SELECT kept FROM pair)
    ), total AS (
      SELECT kept, max(last_message_at) AS last_message_at,
        coalesce(min(first_unread_id) - 1, max(last_read_message_id)) AS last_read_message_id
      FROM member GROUP BY kept
    )
    UPDATE conversations v
    SET last_message_at = t.last_message_at, last_read_message_id = t.last_read_message_id
    FROM total t WHERE v.id = t.kept`.execute(trx)
  await sql`
    WITH pair (id, kept) AS (
      SELECT * FROM unnest(${from}::bigint[], ${to}::bigint[])
    ), merged AS (
      UPDATE conversations v SET merged_into = p.kept FROM pair p WHERE v.id = p.id OR v.merged_into = p.id
    )
    ${announce('conversation.merged', 'pair')}`.execute(trx)
  await sql`
    WITH locked AS MATERIALIZED (
      SELECT id, conversation_id FROM chat_messages WHERE conversation_id = ANY (${from}::bigint[])
      ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE chat_messages m SET conversation_id = p.kept, updated_at = now()
    FROM locked JOIN unnest(${from}::bigint[], ${to}::bigint[]) AS p (loser, kept)
      ON p.loser = locked.conversation_id
    WHERE m.id = locked.id`.execute(trx)
}
