/** What old rows have in our columns, in portions by id, so that no transaction is long and a stop loses little. */
import { quoteName } from '../any-table/names.ts'
import type { Query } from '../any-table/query.ts'
import { TWILIO_ID } from './column-heuristics.ts'
import { MAPPING } from './fill-conversations.ts'

export type MessageSources = {
  /** The column that tells conversations apart; absent: all messages are one conversation. */
  group?: string | undefined
  /** SQL that is true for a row, by its alias, that we sent. */
  outbound?: ((alias: string) => string) | undefined
}

const PORTION = 5_000

/** Changes only rows that differ, so running it again costs a read. */
export async function fillMessages(
  query: Query,
  { group, outbound }: MessageSources,
  onProgress: (done: number, total: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { rows: counted } = await query<{ total: string; oldest: Date }>(
    'SELECT count(*) AS total, coalesce(min(created_at), now()) AS oldest FROM chat_messages',
  )
  const total = Number(counted[0]?.total ?? 0)
  const key = group === undefined ? `''` : `coalesce(m.${quoteName(group)}::text, '')`
  const direction =
    outbound === undefined ? 'm.direction' : `CASE WHEN ${outbound('m')} THEN 'outbound' ELSE 'inbound' END`
  const provider = `CASE WHEN m.wa_message_id ~ '${TWILIO_ID}' THEN 'twilio' WHEN m.wa_message_id LIKE 'wamid.%' THEN 'meta' ELSE m.provider END`
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
         FROM chat_messages m JOIN ${MAPPING} a ON a.old_key = ${key}
         WHERE ($1::bigint IS NULL OR m.id > $1::bigint) AND m.id <= $2::bigint
       ) n
       WHERE m.id = n.id AND (m.conversation_id, m.direction, m.provider, m.message_type, m.created_at)
         IS DISTINCT FROM (n.conversation_id, n.direction, n.provider, n.message_type, n.created_at)`,
      [after ?? null, portion.last, counted[0]?.oldest ?? new Date()],
    )
    after = portion.last
    done += portion.count
    onProgress(done, total)
  }
}
