/** Chooses the number that a message to somebody goes out from, where the request names no conversation. */
import { type RawBuilder, sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { ContactRef } from '../../core/fact.ts'
import { resolveConversations } from '../contacts/conversations.ts'
import { resolveContacts } from '../contacts/resolve-contacts.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'

export type SenderRules = {
  /**
   * By provider: our number that begins new conversations. Without one that provider cannot begin any. The first one counts
   * when the request names no provider.
   */
  defaultNumbers: Readonly<Record<ProviderName, string>>
  /** Those that can send; a request that names none gets one of them. Absent: all. */
  configuredProviders?: readonly ProviderName[]
  /** See `ProviderTraits.otherChannelPath`. */
  otherChannelPaths?: Readonly<Partial<Record<ProviderName, string>>>
}

export type Conversation = { id: string; provider: ProviderName; business_number: string }

/** `not_configured`: only this provider would fit, and it has no credentials. */
export type SenderChoice =
  | { kind: 'chosen'; conversation: Conversation }
  | { kind: 'no_sender' }
  | { kind: 'not_configured'; provider: ProviderName }

/**
 * The number that the contact last wrote to or heard from, else the configured one. Locks the conversation. `provider`: the
 * only one to choose from, whether it can send or not.
 */
export async function chooseSender(
  trx: Transaction<Database>,
  { ref, provider }: { ref: ContactRef; provider: ProviderName | undefined },
  rules: SenderRules,
): Promise<SenderChoice> {
  const [contactId = ''] = await resolveContacts(trx, [{ ref, seen_at: new Date() }])
  const { defaultNumbers, configuredProviders } = rules
  const allowed = provider === undefined ? configuredProviders : [provider]
  const latest = await findLatest(trx, contactId, allowed, rules)
  if (latest !== undefined) return { kind: 'chosen', conversation: latest }
  const withNumber = Object.keys(defaultNumbers)
  const first = withNumber.find((name) => allowed?.includes(name) ?? true)
  if (first !== undefined) return { kind: 'chosen', conversation: await begin(trx, contactId, first, rules) }
  if (provider !== undefined) return { kind: 'no_sender' }
  const unconfigured = (await findLatest(trx, contactId, undefined, rules))?.provider ?? withNumber[0]
  return unconfigured === undefined
    ? { kind: 'no_sender' }
    : { kind: 'not_configured', provider: unconfigured }
}

async function begin(
  trx: Transaction<Database>,
  contact_id: string,
  provider: ProviderName,
  { defaultNumbers }: SenderRules,
): Promise<Conversation> {
  const business_number = defaultNumbers[provider] ?? ''
  const [id = ''] = await resolveConversations(trx, [{ provider, business_number, contact_id }])
  await sql`SELECT FROM conversations WHERE id = ${id} FOR NO KEY UPDATE`.execute(trx)
  return { id, provider, business_number }
}

/** Locks it. */
async function findLatest(
  trx: Transaction<Database>,
  contactId: string,
  providers: readonly ProviderName[] | undefined,
  { otherChannelPaths = {} }: SenderRules,
): Promise<Conversation | undefined> {
  const { rows } = await sql<Conversation>`
    SELECT c.id, c.provider, c.business_number FROM conversations c
    WHERE c.contact_id = ${contactId} AND c.merged_into IS NULL AND c.business_number <> ''
      AND (${providers ?? null}::text[] IS NULL OR c.provider = ANY(${providers ?? null}::text[]))
      AND ${isWhatsApp(otherChannelPaths)}
    ORDER BY c.last_message_at DESC NULLS LAST, c.id DESC LIMIT 1 FOR NO KEY UPDATE`.execute(trx)
  return rows[0]
}

/** So many of the newest messages of a conversation tell what channel it is of; a conversation may hold any number. */
const MESSAGES_LOOKED_AT = 100

/**
 * SQL: not of conversations that hold nothing but messages of another channel (SMS), which earlier versions stored as
 * WhatsApp's. What was sent from here and arrived proves that the number has WhatsApp, too.
 */
function isWhatsApp(otherChannelPaths: Readonly<Partial<Record<ProviderName, string>>>): RawBuilder<unknown> {
  const path = sql`(${JSON.stringify(otherChannelPaths)}::jsonb ->> c.provider)`
  return sql`(${path} IS NULL OR (
    SELECT coalesce(bool_or(CASE WHEN newest.source = 'api' THEN newest.status IN ('delivered', 'read', 'played')
      ELSE NOT coalesce(newest.payload @@ ${path}::jsonpath, false) END), true) OR NOT bool_or(newest.source <> 'api')
    FROM ${partsOf(sql`c.id`)} part CROSS JOIN LATERAL (
      SELECT m.source, m.status, m.payload FROM chat_messages m WHERE m.conversation_id = part.id
      ORDER BY m.id DESC LIMIT ${MESSAGES_LOOKED_AT}
    ) newest
  ))`
}
