/**
 * Writes merges of contacts, and of the conversations that become one by it. Needs the exclusive merge lock, so that no other
 * transaction relies on these contacts meanwhile. No row is deleted: a merged row points at its survivor, never through
 * another merged row.
 */
import { sql, type Transaction } from 'kysely'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import { mergeControl } from './conversation-control.ts'
import type { Contact } from './identity-map.ts'
import { isOfConversation, moveWithMerge } from './move-messages.ts'

/** Gives the losers' identifiers and conversations to the survivors. */
export async function writeContactMerges(
  trx: Transaction<Database>,
  merges: readonly { loser: Contact; survivor: Contact }[],
): Promise<void> {
  if (merges.length === 0) return
  const losers = merges.map(({ loser }) => loser.id ?? '')
  const survivors = merges.map(({ survivor }) => survivor.id ?? '')
  await sql`SELECT id FROM contacts WHERE id = ANY (${[...losers, ...survivors]}::bigint[]) ORDER BY id FOR UPDATE`.execute(
    trx,
  )
  await sql`
    INSERT INTO contact_merges (loser_id, survivor_id, survivor_name, survivor_username, survivor_phone)
    SELECT m.loser, m.survivor, c.name, c.username, c.phone
    FROM unnest(${losers}::bigint[], ${survivors}::bigint[]) AS m (loser, survivor) JOIN contacts c ON c.id = m.survivor
    ORDER BY m.loser`.execute(trx)
  await sql`
    UPDATE contacts c SET merged_into = m.survivor
    FROM unnest(${losers}::bigint[], ${survivors}::bigint[]) AS m (loser, survivor)
    WHERE c.id = m.loser OR c.merged_into = m.loser`.execute(trx)
  await sql`
    UPDATE contact_identifiers i SET contact_id = m.survivor,
      original_contact_id = coalesce(i.original_contact_id, m.loser)
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

type ConversationMerge = { loser: string; kept: string }

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
  const reassigned: ConversationRow[] = []
  const merges: ConversationMerge[] = []
  for (const group of groups) {
    const [kept, ...others] = group.sort(byPrecedence)
    if (!kept) continue
    if (kept.contact_id !== kept.survivor) reassigned.push(kept)
    merges.push(...others.map(({ id }) => ({ loser: id, kept: kept.id })))
  }
  await writeConversationMerges(trx, merges)
  await reassignConversations(trx, reassigned)
}

/** The survivor's own conversation comes first, then the oldest: the first one stays. */
function byPrecedence(a: ConversationRow, b: ConversationRow): number {
  const isOwn = ({ contact_id, survivor }: ConversationRow) => contact_id === survivor
  if (isOwn(a) !== isOwn(b)) return isOwn(a) ? -1 : 1
  return BigInt(a.id) < BigInt(b.id) ? -1 : 1
}

async function reassignConversations(
  trx: Transaction<Database>,
  reassigned: readonly ConversationRow[],
): Promise<void> {
  if (reassigned.length === 0) return
  await sql`
    UPDATE conversations v SET contact_id = m.contact_id,
      original_contact_id = coalesce(v.original_contact_id, v.contact_id)
    FROM unnest(${reassigned.map(({ id }) => id)}::bigint[], ${reassigned.map(({ survivor }) => survivor)}::bigint[])
      AS m (id, contact_id)
    WHERE v.id = m.id`.execute(trx)
}

/** How many messages behind the last one that was read are searched for the first unread one. */
const UNREAD_SEARCH = 1_000

/**
 * Makes the losers parts of the kept conversations. Their messages move now or later: see move-messages.ts. Unread messages
 * stay unread; in exchange a message that was read may show as unread.
 */
async function writeConversationMerges(
  trx: Transaction<Database>,
  merges: readonly ConversationMerge[],
): Promise<void> {
  if (merges.length === 0) return
  const losers = merges.map(({ loser }) => loser)
  const kept = merges.map((merge) => merge.kept)
  await sql`
    WITH pair AS MATERIALIZED (
      SELECT * FROM unnest(${losers}::bigint[], ${kept}::bigint[]) AS p (loser, kept)
    ), member AS MATERIALIZED (
      SELECT v.id, coalesce(p.kept, v.id) AS kept, v.last_message_at, v.last_read_message_id, (
        SELECT coalesce(min(n.id) FILTER (WHERE n.direction = 'inbound'),
          CASE WHEN count(*) = ${UNREAD_SEARCH} THEN max(n.id) END)
        FROM (
          SELECT m.id, m.direction FROM chat_messages m
          WHERE ${isOfConversation(sql`v.id`, sql`v.last_read_message_id`)}
          ORDER BY m.conversation_id, m.id LIMIT ${UNREAD_SEARCH}
        ) n
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
  await mergeControl(trx, losers, kept)
  await sql`
    WITH pair (id, merged_into) AS (
      SELECT * FROM unnest(${losers}::bigint[], ${kept}::bigint[])
    ), merged AS (
      UPDATE conversations v SET merged_into = p.merged_into FROM pair p WHERE v.id = p.id OR v.merged_into = p.id
    )
    ${announce('conversation.merged', 'pair')}`.execute(trx)
  await moveWithMerge(trx, losers)
}
