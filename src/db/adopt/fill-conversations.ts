/**
 * Makes a conversation and a contact for every group of old messages.
 *
 * Ids of old conversations stay. Each conversation has a contact of its own, also where several have the same phone, because
 * an old system may have had a conversation for every case. New messages of that phone go to the conversation with the
 * latest message: its contact has the phone.
 */
import { phoneDigits, phoneKey } from '../../core/phone.ts'
import { quoteName, quoteText } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { indexableText, profileText } from '../contacts/identifiers.ts'
import { type AdoptionRun, advanceSequence, findSequence } from './alter-tables.ts'
import { type PeerColumn, providerOfId } from './column-heuristics.ts'
import type { Sources } from './sources.ts'

/** Groups are worked off in portions of this many, one transaction each. */
const PORTION = 500
/** The table with the conversation of each old key. It stays, because other old tables refer to the old keys. */
export const MAPPING = 'wa_ingest_adopted_conversations'

type Group = { key: string; phone: string | null; name: string | null }

export type Filled = { conversations: number; with_phone: number }

/** The old value that tells conversations apart, as text; '' for messages without one. `alias`: of chat_messages. */
export function conversationKey(group: string | undefined, alias: string): string {
  return group === undefined ? `''` : `coalesce(${alias}.${quoteName(group)}::text, '')`
}

export async function fillConversations(
  { query, signal, report }: AdoptionRun,
  sources: Sources,
): Promise<Filled> {
  await listGroups(query, sources)
  const sequence = await reserveIds(query)
  const { rows: counted } = await query<{ total: number }>(
    'SELECT count(*)::int AS total FROM adopted_groups',
  )
  const total = counted[0]?.total ?? 0
  const filled: Filled = { conversations: 0, with_phone: 0 }
  for (;;) {
    signal?.throwIfAborted()
    const { rows } = await query<Group>(
      'SELECT key, phone, name FROM adopted_groups ORDER BY last_at DESC NULLS LAST, key DESC LIMIT $1',
      [PORTION],
    )
    if (rows.length === 0) return filled
    filled.with_phone += await makeConversations(query, rows, sources, sequence)
    filled.conversations += rows.length
    report({ step: 'conversations', done: filled.conversations, total })
  }
}

/** Lists the groups that have no contact yet, with one pass over the messages and one over the old conversations. */
async function listGroups(query: Query, sources: Sources): Promise<void> {
  const { group, ofMessage, ofConversation, hasConversationIds, provider, providers, outbound } = sources
  // In a message that the business sent, the number may be the business's own.
  const received = outbound === undefined ? '' : ` FILTER (WHERE ${outbound('v')} IS NOT TRUE)`
  const anyOf = (column: PeerColumn | undefined) =>
    column === undefined ? 'NULL::text' : `max((${column.sql})::text)${received}`
  await query(
    `CREATE TABLE IF NOT EXISTS ${MAPPING} (old_key text PRIMARY KEY, conversation_id bigint NOT NULL)`,
  )
  await query('DROP TABLE IF EXISTS pg_temp.adopted_groups')
  await query(
    `CREATE TEMP TABLE adopted_groups AS
     SELECT g.* FROM (
       SELECT ${conversationKey(group, 'v')} AS key, ${anyOf(ofMessage.phone)} AS phone, ${anyOf(ofMessage.name)} AS name,
         coalesce(max(${providerOfId('v.wa_message_id', providers)}), max(v.provider)) AS provider,
         min(v.created_at) AS first_at, max(v.created_at) AS last_at, max(v.id) AS last_id
       FROM chat_messages v GROUP BY 1
     ) g WHERE NOT EXISTS (SELECT FROM ${MAPPING} a WHERE a.old_key = g.key)`,
  )
  await query('ALTER TABLE adopted_groups ADD PRIMARY KEY (key)')
  if (!hasConversationIds) return
  const of = (column: PeerColumn | undefined, otherwise: string) =>
    column === undefined ? otherwise : `coalesce((${column.sql})::text, ${otherwise})`
  // Old conversations without messages stay conversations; ids without a conversation get one.
  await query(
    `INSERT INTO adopted_groups (key, provider, first_at, last_at, last_id)
     SELECT v.id::text, ${quoteText(provider)}, v.created_at, NULL, 0 FROM conversations v
     WHERE NOT EXISTS (SELECT FROM ${MAPPING} a WHERE a.old_key = v.id::text) ON CONFLICT DO NOTHING`,
  )
  await query(
    `UPDATE adopted_groups g SET phone = ${of(ofConversation.phone, 'g.phone')},
       name = ${of(ofConversation.name, 'g.name')}
     FROM conversations v WHERE v.id::text = g.key`,
  )
}

/** Moves the sequence past every id that an old message names, whether or not there is a conversation for it. */
async function reserveIds(query: Query): Promise<string> {
  const sequence = await findSequence(query, 'conversations')
  if (sequence === undefined) throw new Error('conversations.id draws from no sequence')
  await advanceSequence(query, sequence, [
    'SELECT max(id) FROM conversations',
    `SELECT max(key::bigint) FROM adopted_groups WHERE key ~ '^[0-9]{1,18}$'`,
  ])
  return sequence
}

/** Makes them, and takes the groups off the list. Old messages count as read. @returns how many groups have a phone. */
async function makeConversations(
  query: Query,
  groups: readonly Group[],
  { group, hasConversationIds, providers }: Sources,
  sequence: string,
): Promise<number> {
  const peers = groups.map(({ key, phone, name }) => {
    const text = phone ?? (group !== undefined && !hasConversationIds ? key : '')
    const digits = phoneDigits(text.replace(/@(?:c\.us|s\.whatsapp\.net)$/, ''))
    const shown = profileText(name ?? undefined) ?? (digits === undefined ? profileText(text) : undefined)
    return { digits, identifier: digits && indexableText(phoneKey(digits)), name: shown }
  })
  const newId = 'nextval($5::text::regclass)'
  const id = hasConversationIds
    ? `CASE WHEN p.key ~ '^-?[0-9]+$' THEN p.key::bigint ELSE ${newId} END`
    : newId
  await query(
    // The newest conversations come first, so theirs is the phone.
    `WITH peers AS (
         SELECT p.place, p.key, p.digits, p.identifier, p.shown_name, g.provider, g.first_at, g.last_at, g.last_id,
           nextval(pg_get_serial_sequence('contacts', 'id')) AS contact_id, ${id} AS id
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
           AS p(key, digits, identifier, shown_name, place)
         JOIN adopted_groups g ON g.key = p.key
       ), new_contacts AS (
         INSERT INTO contacts (id, name, phone, created_at)
         SELECT contact_id, shown_name, digits, coalesce(first_at, now()) FROM peers
       ), identifiers AS (
         INSERT INTO contact_identifiers (kind, value, contact_id, first_used_at, last_used_at)
         SELECT 'phone', identifier, contact_id, coalesce(first_at, now()), coalesce(last_at, first_at, now())
         FROM peers WHERE identifier IS NOT NULL ORDER BY place ON CONFLICT DO NOTHING
       ), made AS (
         INSERT INTO conversations (id, provider, business_number, contact_id, last_message_at, last_read_message_id, created_at)
         SELECT id, provider, coalesce($6::jsonb ->> provider, ''), contact_id, last_at, last_id,
           coalesce(first_at, now()) FROM peers
         ON CONFLICT (id) DO UPDATE SET provider = excluded.provider, business_number = excluded.business_number,
           contact_id = excluded.contact_id, last_message_at = excluded.last_message_at,
           last_read_message_id = excluded.last_read_message_id
       ), mapped AS (
         INSERT INTO ${MAPPING} (old_key, conversation_id) SELECT key, id FROM peers
       )
       DELETE FROM adopted_groups g USING peers p WHERE g.key = p.key`,
    [
      groups.map(({ key }) => key),
      peers.map(({ digits }) => digits ?? null),
      peers.map(({ identifier }) => identifier ?? null),
      peers.map(({ name }) => name ?? null),
      sequence,
      JSON.stringify(Object.fromEntries(providers.map(({ name, number }) => [name, number]))),
    ],
  )
  return peers.filter(({ digits }) => digits !== undefined).length
}
