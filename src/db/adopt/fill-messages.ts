/** Fills our columns of old rows, in portions by id, so that no transaction is long and little is lost by a stop. */
import type { AdoptionRun } from './alter-tables.ts'
import { providerOfId } from './column-heuristics.ts'
import { conversationKey, MAPPING } from './fill-conversations.ts'
import type { Sources } from './sources.ts'

const PORTION = 5_000

/** Changes only rows that differ, so running it again costs a read. */
export async function fillMessages(
  { query, signal, report }: AdoptionRun,
  { group, outbound, providers }: Pick<Sources, 'group' | 'outbound' | 'providers'>,
): Promise<void> {
  const { rows: counted } = await query<{ total: string; oldest: Date }>(
    'SELECT count(*) AS total, coalesce(min(created_at), now()) AS oldest FROM chat_messages',
  )
  const total = Number(counted[0]?.total ?? 0)
  const direction =
    outbound === undefined ? 'm.direction' : `CASE WHEN ${outbound('m')} THEN 'outbound' ELSE 'inbound' END`
  const provider = `coalesce(${providerOfId('m.wa_message_id', providers)}, m.provider)`
  let done = 0
  let after: string | undefined
  for (;;) {
    signal?.throwIfAborted()
    const { rows } = await query<{ last: string | null; count: number }>(
      `SELECT max(id)::text AS last, count(*)::int AS count FROM (
         SELECT id FROM chat_messages WHERE $1::bigint IS NULL OR id > $1::bigint ORDER BY id LIMIT ${PORTION}) p`,
      [after ?? null],
    )
    const portion = rows[0]
    if (!portion?.last) return
    await query(
      `UPDATE chat_messages m SET conversation_id = n.conversation_id, direction = n.direction, provider = n.provider,
         message_type = n.message_type, created_at = n.created_at
       FROM (
         SELECT m.id, a.conversation_id, ${direction} AS direction, ${provider} AS provider,
           coalesce(m.message_type, 'text') AS message_type, coalesce(m.created_at, $3::timestamptz) AS created_at
         FROM chat_messages m JOIN ${MAPPING} a ON a.old_key = ${conversationKey(group, 'm')}
         WHERE ($1::bigint IS NULL OR m.id > $1::bigint) AND m.id <= $2::bigint
       ) n
       WHERE m.id = n.id AND (m.conversation_id, m.direction, m.provider, m.message_type, m.created_at)
         IS DISTINCT FROM (n.conversation_id, n.direction, n.provider, n.message_type, n.created_at)`,
      [after ?? null, portion.last, counted[0]?.oldest ?? new Date()],
    )
    after = portion.last
    done += portion.count
    report({ step: 'messages', done, total })
  }
}
