/** Everything that the database holds after a run. */
import type { Pool } from 'pg'
import { statusRank } from '../../src/core/status.ts'

export type StoredMessage = {
  wa_message_id: string
  direction: string
  message_type: string
  content: string | null
  /** In seconds since 1970. */
  sent_at: number | null
  status: string | null
  /** Of the conversation that counts, after merges. */
  conversation_id: string
  /** Of the person it is with. */
  name: string | null
}

export type StoredRows = {
  messages: StoredMessage[]
  statuses: { wa_message_id: string; status: string }[]
  /** Rows of `webhook_events` that were not reprocessed, with the reason of those that are parked. */
  events: { wa_message_id: string | null; kind: string; reason: string | null }[]
  /** Messages that were not announced as created exactly once. */
  misannounced: string[]
  /** In quarantine: second copies that got as far as the table. */
  quarantined: number
  /** The service's own counter `stored`. */
  counted: number
}

export async function readStoredRows(pool: Pool): Promise<StoredRows> {
  const messages = await pool.query<StoredMessage>(`
    SELECT m.wa_message_id, m.direction, m.message_type, m.content, m.status,
      extract(epoch FROM m.sent_at)::float8 AS sent_at, c.id::text AS conversation_id, contacts.name
    FROM chat_messages m
    JOIN conversations first ON first.id = m.conversation_id
    JOIN conversations c ON c.id = coalesce(first.merged_into, first.id)
    JOIN contacts ON contacts.id = c.contact_id`)
  const statuses = await pool.query<{ wa_message_id: string; status: string }>(
    'SELECT wa_message_id, status FROM message_statuses',
  )
  const events = await pool.query<{ wa_message_id: string | null; kind: string; reason: string | null }>(
    'SELECT wa_message_id, kind, reason FROM webhook_events WHERE reprocessed_at IS NULL',
  )
  const announced = await pool.query<{ id: string }>(`
    SELECT m.wa_message_id AS id FROM chat_messages m
    LEFT JOIN changes ON changes.message_id = m.id AND changes.kind = 'message.created'
    GROUP BY m.id HAVING count(changes.message_id) <> 1`)
  const quarantined = await pool.query<{ rows: string }>(
    'SELECT count(*) AS rows FROM chat_messages_duplicates',
  )
  const counted = await pool.query<{ total: string | null }>(
    `SELECT sum(value) AS total FROM counters WHERE name = 'stored'`,
  )
  return {
    messages: messages.rows,
    statuses: statuses.rows,
    events: events.rows,
    misannounced: announced.rows.map(({ id }) => id),
    quarantined: Number(quarantined.rows[0]?.rows ?? 0),
    counted: Number(counted.rows[0]?.total ?? 0),
  }
}

/**
 * Messages whose status is not the highest that the service received for them: every status row, and `sent` for messages
 * that the business wrote on its phone.
 */
export function findUnfinished({ messages, statuses }: StoredRows): string[] {
  const heard = new Map<string, string[]>()
  for (const { wa_message_id, status } of statuses) {
    heard.set(wa_message_id, [...(heard.get(wa_message_id) ?? []), status])
  }
  return messages
    .filter(({ wa_message_id, direction, status }) => {
      const own = direction === 'outbound' ? ['sent'] : []
      return status !== highest([...own, ...(heard.get(wa_message_id) ?? [])])
    })
    .map(({ wa_message_id }) => wa_message_id)
}

function highest(statuses: readonly string[]): string | null {
  const [first] = statuses.toSorted((a, b) => (statusRank(b) ?? -1) - (statusRank(a) ?? -1))
  return first ?? null
}
