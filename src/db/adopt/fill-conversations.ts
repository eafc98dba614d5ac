/**
 * A conversation and a contact for every group of old messages.
 *
 * Ids of old conversations stay. Each has a contact of its own, also where several are with one person, because an old
 * system may have had a conversation for every case; new messages of that person go on in the one with the latest message,
 * whose contact has the phone.
 */
import { phoneDigits, phoneKey } from '../../core/phone.ts'
import { quoteName } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { keyText, profileText } from '../contacts/identifiers.ts'
import { findSequence } from './alter-tables.ts'
import { type PeerColumn, TWILIO_ID } from './column-heuristics.ts'

export type ConversationSources = {
  /** The column of chat_messages that tells conversations apart. Absent: all messages are one conversation. */
  group?: string | undefined
  /** The other side's phone and name, from the old conversation (row `v`) or from the messages (row `v`). */
  ofConversation: { phone?: PeerColumn | undefined; name?: PeerColumn | undefined }
  ofMessage: { phone?: PeerColumn | undefined; name?: PeerColumn | undefined }
  /** SQL that is true for a row of chat_messages, by its alias, that we sent. */
  outbound?: ((alias: string) => string) | undefined
  /** Whether `group` has the ids of conversations themselves. */
  hasConversationIds: boolean
  provider: 'meta' | 'twilio'
  /** Our number by provider, '' where it is not known. */
  numbers: Record<'meta' | 'twilio', string>
}

/** Groups whose conversation is not made yet are worked off in portions of this many. */
const PORTION = 500
/** What became of each old key; stays in the database, because the old keys are in other old tables. */
export const MAPPING = 'wa_ingest_adopted_conversations'

type Group = {
  key: string
  conversation_id: string | null
  phone: string | null
  name: string | null
  provider: 'meta' | 'twilio'
  first_at: Date
  last_at: Date
  last_id: string
}

export type Filled = { conversations: number; with_phone: number }

export async function fillConversations(
  query: Query,
  sources: ConversationSources,
  onProgress: (done: number, total: number) => void,
  signal?: AbortSignal,
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
      'SELECT * FROM adopted_groups ORDER BY last_at DESC NULLS LAST, key DESC LIMIT $1',
      [PORTION],
    )
    if (rows.length === 0) return filled
    await query('BEGIN')
    try {
      const withPhone = await makeConversations(query, rows, sources, sequence)
      await query('DELETE FROM adopted_groups WHERE key = ANY($1::text[])', [rows.map(({ key }) => key)])
      await query('COMMIT')
      filled.with_phone += withPhone
    } catch (err) {
      await query('ROLLBACK')
      throw err
    }
    filled.conversations += rows.length
    onProgress(filled.conversations, total)
  }
}

/**
 * One pass over the messages, and one over the old conversations, into a list of what has no contact yet. The key is the
 * old value as text; '' stands for messages without any.
 */
async function listGroups(query: Query, sources: ConversationSources): Promise<void> {
  const { group, ofMessage, ofConversation, hasConversationIds, provider } = sources
  const key = group === undefined ? `''` : `coalesce(v.${quoteName(group)}::text, '')`
  // Of what we sent, the number may be our own.
  const received =
    sources.outbound === undefined ? '' : ` FILTER (WHERE ${sources.outbound('v')} IS NOT TRUE)`
  const evidence = (column: PeerColumn | undefined) =>
    column === undefined ? 'NULL::text' : `max((${column.sql})::text)${received}`
  await query(
    `CREATE TABLE IF NOT EXISTS ${MAPPING} (old_key text PRIMARY KEY, conversation_id bigint NOT NULL)`,
  )
  await query('DROP TABLE IF EXISTS pg_temp.adopted_groups')
  await query(
    `CREATE TEMP TABLE adopted_groups AS
     SELECT g.*, NULL::bigint AS conversation_id FROM (
       SELECT ${key} AS key, ${evidence(ofMessage.phone)} AS phone, ${evidence(ofMessage.name)} AS name,
         CASE WHEN bool_or(v.wa_message_id ~ '${TWILIO_ID}') THEN 'twilio'
              WHEN bool_or(v.wa_message_id LIKE 'wamid.%') THEN 'meta' ELSE max(v.provider) END AS provider,
         min(v.created_at) AS first_at, max(v.created_at) AS last_at, max(v.id) AS last_id
       FROM chat_messages v GROUP BY 1
     ) g WHERE NOT EXISTS (SELECT FROM ${MAPPING} a WHERE a.old_key = g.key)`,
  )
  await query('ALTER TABLE adopted_groups ADD PRIMARY KEY (key)')
  if (!hasConversationIds) return
  const of = (column: PeerColumn | undefined, otherwise: string) =>
    column === undefined ? otherwise : `coalesce((${column.sql})::text, ${otherwise})`
  // Old conversations without messages are conversations too; ids without a conversation get one.
  await query(
    `INSERT INTO adopted_groups (key, provider, first_at, last_at, last_id)
     SELECT v.id::text, '${provider}', v.created_at, NULL, 0 FROM conversations v
     WHERE NOT EXISTS (SELECT FROM ${MAPPING} a WHERE a.old_key = v.id::text) ON CONFLICT DO NOTHING`,
  )
  await query(
    `UPDATE adopted_groups g SET conversation_id = v.id, phone = ${of(ofConversation.phone, 'g.phone')},
       name = ${of(ofConversation.name, 'g.name')}
     FROM conversations v WHERE v.id::text = g.key`,
  )
}

/** Ids that old messages name are taken, whether or not there is a conversation for them. */
async function reserveIds(query: Query): Promise<string> {
  const sequence = await findSequence(query, 'conversations')
  if (sequence === undefined) throw new Error('conversations.id draws from no sequence')
  await query(
    `SELECT setval('${sequence.replaceAll("'", "''")}', greatest(
       (SELECT coalesce(max(id), 0) + 1 FROM conversations),
       (SELECT coalesce(max(key::bigint), 0) + 1 FROM adopted_groups WHERE key ~ '^[0-9]{1,18}$'),
       (SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM ${sequence})
     ), false)`,
  )
  return sequence.replaceAll("'", "''")
}

async function makeConversations(
  query: Query,
  groups: readonly Group[],
  sources: ConversationSources,
  sequence: string,
): Promise<number> {
  const peers = groups.map((group) => {
    const text = group.phone ?? (sources.group !== undefined && !sources.hasConversationIds ? group.key : '')
    const digits = phoneDigits(text.replace(/@(?:c\.us|s\.whatsapp\.net)$/, ''))
    const name =
      profileText(group.name ?? undefined) ?? (digits === undefined ? profileText(text) : undefined)
    return { ...group, digits, name }
  })
  const { rows: contacts } = await query<{ id: string }>(
    `SELECT nextval(pg_get_serial_sequence('contacts', 'id'))::text AS id FROM generate_series(1, $1)`,
    [peers.length],
  )
  const contactIds = contacts.map(({ id }) => id)
  await query(
    `INSERT INTO contacts (id, name, phone, created_at)
     SELECT id, name, phone, coalesce(at, now()) FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[]) AS c(id, name, phone, at)`,
    [
      contactIds,
      peers.map(({ name }) => name ?? null),
      peers.map(({ digits }) => digits ?? null),
      peers.map((peer) => peer.first_at),
    ],
  )
  const withPhone = peers.flatMap((peer, index) =>
    peer.digits === undefined
      ? []
      : [{ value: keyText(phoneKey(peer.digits)), contact: contactIds[index], ...peer }],
  )
  // Newest conversations come first: theirs is the phone.
  await query(
    `INSERT INTO contact_identifiers (kind, value, contact_id, first_used_at, last_used_at)
     SELECT 'phone', value, contact_id, coalesce(first_at, now()), coalesce(last_at, first_at, now())
     FROM unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::timestamptz[]) WITH ORDINALITY AS i(value, contact_id, first_at, last_at, place)
     ORDER BY place ON CONFLICT DO NOTHING`,
    [
      withPhone.map(({ value }) => value),
      withPhone.map(({ contact }) => contact),
      withPhone.map(({ first_at }) => first_at),
      withPhone.map(({ last_at }) => last_at),
    ],
  )
  await writeConversations(query, groups, contactIds, sources, sequence)
  return withPhone.length
}

/** What was there before counts as read. */
async function writeConversations(
  query: Query,
  groups: readonly Group[],
  contactIds: readonly string[],
  { numbers, hasConversationIds, group }: ConversationSources,
  sequence: string,
): Promise<void> {
  const given = (key: string) =>
    hasConversationIds && group !== undefined && /^-?\d+$/.test(key) ? key : null
  await query(
    `WITH input AS (
       SELECT i.key, i.contact_id, i.provider, i.business_number, i.first_at, i.last_at, i.last_id,
         coalesce(i.id, nextval('${sequence}')) AS id
       FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bigint[], $8::bigint[])
         AS i(key, contact_id, provider, business_number, first_at, last_at, last_id, id)
     ), made AS (
       INSERT INTO conversations (id, provider, business_number, contact_id, last_message_at, last_read_message_id, created_at)
       SELECT id, provider, business_number, contact_id, last_at, last_id, coalesce(first_at, now()) FROM input
       ON CONFLICT (id) DO UPDATE SET provider = excluded.provider, business_number = excluded.business_number,
         contact_id = excluded.contact_id, last_message_at = excluded.last_message_at,
         last_read_message_id = excluded.last_read_message_id
     )
     INSERT INTO ${MAPPING} (old_key, conversation_id) SELECT key, id FROM input`,
    [
      groups.map(({ key }) => key),
      contactIds,
      groups.map(({ provider }) => provider),
      groups.map(({ provider }) => numbers[provider]),
      groups.map(({ first_at }) => first_at),
      groups.map(({ last_at }) => last_at),
      groups.map(({ last_id }) => last_id),
      groups.map(({ key }) => given(key)),
    ],
  )
}
