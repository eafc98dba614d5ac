/**
 * Who has control of a conversation: this app, or another one on the same number, such as Meta Business Agent.
 *
 * Three things say it: a handover, a message in standby (another app has control), and a message that comes in the ordinary
 * way (this app has it). The newest by the provider's time decides, in whatever order they arrive; of two with the same time
 * the one that gives control to this app. An ordinary message is recorded only where another app had control
 * (ingest/messages.ts), so that most conversations are never written for it; this file looks such messages up instead.
 */
import { type Kysely, sql, type Transaction } from 'kysely'
import type { ControlHolder } from '../../core/fact.ts'
import { announce } from '../announce.ts'
import type { Database } from '../schema.ts'
import { lockMergesShared } from './merge-lock.ts'

export type ControlSign = {
  conversation_id: string
  holder: ControlHolder
  /** In the provider's words; null when unknown. */
  role: string | null
  /** The provider's time. */
  at: Date
}

/**
 * Records what was said about control, and announces conversations that changed. A transaction of its own, because it reads
 * messages that other writers have committed by the time the conversations are locked. Safe to repeat.
 */
export async function recordControl(db: Kysely<Database>, signs: readonly ControlSign[]): Promise<void> {
  if (signs.length === 0) return
  const ids = [...new Set(signs.map(({ conversation_id }) => conversation_id))]
  await db.transaction().execute(async (trx) => {
    await lockMergesShared(trx)
    await sql`
      SELECT id FROM conversations
      WHERE id IN (SELECT coalesce(merged_into, id) FROM conversations WHERE id = ANY(${ids}::bigint[]))
      ORDER BY id FOR NO KEY UPDATE`.execute(trx)
    await sql`
      WITH said AS MATERIALIZED (
        SELECT coalesce(c.merged_into, c.id) AS id, s.holder, s.role, s.at
        FROM json_to_recordset(${JSON.stringify(signs)}::json)
          AS s (conversation_id bigint, holder text, role text, at timestamptz)
        JOIN conversations c ON c.id = s.conversation_id
      ), heard AS (
        SELECT s.id, 'self' AS holder, NULL AS role, least(m.sent_at, m.received_at) AS at
        FROM (SELECT DISTINCT id FROM said) s
        -- Messages of a merged conversation may be on their way.
        JOIN conversations p ON p.id = s.id OR p.merged_into = s.id
        CROSS JOIN LATERAL (
          SELECT sent_at, received_at FROM chat_messages
          WHERE conversation_id = p.id AND direction = 'inbound' AND source = 'webhook' AND sent_at IS NOT NULL
          ORDER BY coalesce(sent_at, received_at, created_at) DESC, id DESC LIMIT 1
        ) m
      ), newest AS (
        SELECT DISTINCT ON (id) id, holder, role, at FROM (SELECT * FROM said UNION ALL SELECT * FROM heard) e
        ORDER BY id, at DESC, ${orderOf('holder', 'role')} DESC
      ), updated AS (
        UPDATE conversations c SET control_confirmed_at = n.at, control_holder = n.holder,
          control_role = CASE WHEN n.holder = c.control_holder THEN coalesce(n.role, c.control_role) ELSE n.role END,
          control_at = CASE WHEN n.holder = c.control_holder THEN c.control_at ELSE n.at END
        FROM newest n JOIN conversations b ON b.id = n.id
        WHERE c.id = n.id AND (c.control_holder IS NULL
          OR (c.control_confirmed_at, ${orderOf('c.control_holder', 'c.control_role')})
            < (n.at, ${orderOf('n.holder', 'n.role')}))
        RETURNING c.id, (c.control_holder, c.control_role) IS DISTINCT FROM (b.control_holder, b.control_role) AS is_new
      ), changed AS (
        SELECT id FROM updated WHERE is_new
      )
      ${announce('conversation.control', 'changed')}`.execute(trx)
  })
}

/**
 * Gives the conversation that stays the newest control of those that are merged. Needs the exclusive merge lock and the rows
 * locked; `conversation.merged` announces it.
 */
export async function mergeControl(
  trx: Transaction<Database>,
  losers: readonly string[],
  kept: readonly string[],
): Promise<void> {
  await sql`
    WITH pair AS (
      SELECT * FROM unnest(${losers}::bigint[], ${kept}::bigint[]) AS p (id, kept)
    ), newest AS (
      SELECT DISTINCT ON (p.kept) p.kept, c.control_holder, c.control_role, c.control_at, c.control_confirmed_at
      FROM pair p JOIN conversations c ON c.id = p.id WHERE c.control_holder IS NOT NULL
      ORDER BY p.kept, c.control_confirmed_at DESC, ${orderOf('c.control_holder', 'c.control_role')} DESC
    )
    UPDATE conversations c SET control_holder = n.control_holder, control_role = n.control_role,
      control_at = n.control_at, control_confirmed_at = n.control_confirmed_at
    FROM newest n
    WHERE c.id = n.kept AND (c.control_holder IS NULL
      OR (c.control_confirmed_at, ${orderOf('c.control_holder', 'c.control_role')})
        < (n.control_confirmed_at, ${orderOf('n.control_holder', 'n.control_role')}))`.execute(trx)
}

/** SQL: what decides between two signs of the same time. 'self' comes after 'other'. */
function orderOf(holder: string, role: string) {
  return sql.raw(`(${holder} || ' ' || coalesce(${role}, '')) COLLATE "C"`)
}
