/** In-doubt sends: messages in status `unknown` (or still `sending`), whose provider may or may not have them. */
import { type Kysely, sql } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { Recipient } from '../../core/outbound.ts'
import { RECONCILIATION } from '../../core/send-policy.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'

export type InDoubtSend = {
  message_id: string
  callback_id: string
  business_number: string
  recipient: Recipient
  text: string
  /** The time of the claim; the call began at most a few seconds later. */
  sending_since: Date
}

/** SQL: a text without its blanks. Two texts that are equal so may be equal in the provider's list, too. */
function withoutBlanks(text: string) {
  return sql.raw(String.raw`regexp_replace(${text}, '[ \t\r\n]+', '', 'g')`)
}

/** SQL: every conversation of row `m`'s contact through the same provider. */
const CONVERSATIONS_OF_CONTACT = sql`ARRAY(
  SELECT part_of_it.id FROM conversations own
  JOIN conversations present ON present.id = coalesce(own.merged_into, own.id)
  JOIN conversations other ON other.contact_id = present.contact_id AND other.provider = present.provider
  CROSS JOIN LATERAL ${partsOf(sql`other.id`)} part_of_it
  WHERE own.id = m.conversation_id
)`

/**
 * SQL: whether the text of row `m` identifies it in the provider's list. Not when another send to the contact has the same
 * text, or one that differs in blanks alone: an entry of the list could be either. That holds for sends from two numbers, too:
 * a messaging service may have sent from the number of the other one.
 */
const CAN_BE_RECONCILED = sql`m.request -> 'sent_to' IS NOT NULL
  AND m.request #> '{content,template}' IS NULL AND m.content IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM chat_messages o
    WHERE o.conversation_id = ANY(${CONVERSATIONS_OF_CONTACT}) AND o.id <> m.id AND o.source = 'api'
      AND o.wa_message_id IS NULL AND o.status IN ('queued', 'sending', 'unknown', 'failed')
      AND o.send_attempts > 0 AND ${withoutBlanks('o.content')} = ${withoutBlanks('m.content')}
  )`

/**
 * Marks due in-doubt sends of the provider as looked up, and returns them: the first time after two minutes, then each
 * time when twice as old.
 */
export async function claimForReconciliation(
  db: Kysely<Database>,
  provider: ProviderName,
): Promise<InDoubtSend[]> {
  const { rows } = await sql<InDoubtSend>`
    WITH due AS (
      SELECT m.id FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
      WHERE m.status = 'unknown' AND m.source = 'api' AND m.wa_message_id IS NULL AND c.provider = ${provider}
        AND ${CAN_BE_RECONCILED}
        AND m.sending_since < clock_timestamp() - ${RECONCILIATION.firstAfterMs} * interval '1 millisecond'
        AND m.sending_since > clock_timestamp() - ${RECONCILIATION.maxAgeMs} * interval '1 millisecond'
        AND (m.looked_up_at IS NULL
          OR clock_timestamp() - m.sending_since > ${RECONCILIATION.ageFactor}::integer * (m.looked_up_at - m.sending_since))
      ORDER BY m.id LIMIT ${RECONCILIATION.maxSendsARun} FOR NO KEY UPDATE OF m SKIP LOCKED
    )
    UPDATE chat_messages m SET looked_up_at = clock_timestamp()
    FROM due, conversations c
    WHERE m.id = due.id AND c.id = m.conversation_id
    RETURNING m.id AS message_id, m.callback_id, c.business_number, m.request -> 'sent_to' AS recipient,
      m.content AS text, m.sending_since`.execute(db)
  return rows
}

/** Those of the provider's ids that no outbound message of the API has. */
export async function excludeOwnMessages(
  db: Kysely<Database>,
  waMessageIds: readonly string[],
): Promise<Set<string>> {
  const { rows } = await sql<{ wa_message_id: string }>`
    SELECT wa_message_id FROM chat_messages
    WHERE wa_message_id = ANY(${waMessageIds}::text[]) AND wa_message_id <> '' AND source = 'api'`.execute(db)
  const own = new Set(rows.map((row) => row.wa_message_id))
  return new Set(waMessageIds.filter((id) => !own.has(id)))
}

/** An in-doubt send with what decides whether an entry of the provider's list may be it. */
export type MatchableSend = InDoubtSend & {
  is_template: boolean
  has_file: boolean
  /** All of the recipient's, as in `contact_identifiers`. */
  identifiers: string[]
  /** Whether its text identifies it in the provider's list. */
  can_be_reconciled: boolean
}

/** Sends in `sending` or `unknown` that were claimed in this span. */
export async function findMatchableSends(
  db: Kysely<Database>,
  provider: ProviderName,
  { after, before }: { after: Date; before: Date },
): Promise<MatchableSend[]> {
  const { rows } = await sql<MatchableSend>`
    SELECT m.id AS message_id, m.callback_id, c.business_number, m.sending_since, coalesce(m.content, '') AS text,
      coalesce(m.request -> 'sent_to', '{}') AS recipient,
      m.request #> '{content,template}' IS NOT NULL AS is_template,
      m.request #> '{content,media}' IS NOT NULL AS has_file,
      ARRAY(
        SELECT i.value FROM contact_identifiers i
        WHERE i.contact_id = c.contact_id AND i.kind IN ('phone', 'user_id', 'parent_user_id')
      ) AS identifiers,
      (${CAN_BE_RECONCILED}) AS can_be_reconciled
    FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.status IN ('sending', 'unknown') AND m.source = 'api' AND m.wa_message_id IS NULL
      AND c.provider = ${provider} AND m.sending_since BETWEEN ${after} AND ${before}`.execute(db)
  return rows
}
