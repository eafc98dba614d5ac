/**
 * Finds the conversation of an outbound message, and with it our number; and the messages that it answers or reacts to.
 */
import { sql, type Transaction } from 'kysely'
import type { ProviderName } from '../../core/event.ts'
import type { ContactRef } from '../../core/fact.ts'
import type { OutboundRequest, Recipient } from '../../core/outbound.ts'
import { phoneDigits } from '../../core/phone.ts'
import { lockMergesShared } from '../contacts/merge-lock.ts'
import { partsOf } from '../merged-conversations.ts'
import type { Database } from '../schema.ts'
import { type Conversation, chooseSender, type SenderRules } from './choose-sender.ts'

/**
 * Why a message is not created.
 * - `recipient_invalid`: `to` has no usable address, or the request has neither `to` nor `conversation_id`
 * - `provider_mismatch`: the conversation is with another provider
 * - `no_sender`: no number is configured that could begin this conversation
 * - `provider_not_configured`: the only provider that would fit has no credentials here
 * - `reply_not_found`, `reaction_target_not_found`: no such message in this conversation
 * - `upload_not_found`: there is no such upload
 * - `upload_type`: its type does not fit the message type
 * - `upload_too_large`: the provider takes no file of that size
 * - `text_too_long`: the provider takes no text of that length
 * - `no_public_url`: the provider fetches files, and this service has no public address
 * - `message_not_found`, `not_resendable`: of a resend
 */
export type Refusal =
  | 'conversation_not_found'
  | 'recipient_invalid'
  | 'provider_mismatch'
  | 'no_sender'
  | 'provider_not_configured'
  | 'reply_not_found'
  | 'reaction_target_not_found'
  | 'upload_not_found'
  | 'upload_type'
  | 'upload_too_large'
  | 'text_too_long'
  | 'no_public_url'
  | 'message_not_found'
  | 'not_resendable'

export type Place =
  | {
      kind: 'placed'
      conversation_id: string
      provider: ProviderName
      /** null also while the answered message has no id yet: the claim reads it again. */
      reply_to_wa_message_id: string | null
      target_wa_message_id: string | null
    }
  | Refused

/** `provider`: that of `provider_not_configured`. */
export type Refused = { kind: 'refused'; reason: Refusal; provider?: ProviderName }

/** Takes the lock against merges of conversations, and then that of the conversation: call it before anything else that locks. */
export async function placeOutbound(
  trx: Transaction<Database>,
  request: OutboundRequest,
  rules: SenderRules,
): Promise<Place> {
  const found = await findConversation(trx, request, rules)
  if ('kind' in found) return found
  const conversation = found
  const target =
    request.type === 'reaction'
      ? await findLinked(trx, conversation, request.reaction.message_id)
      : { wa_message_id: null }
  if (target === undefined) return refuse('reaction_target_not_found')
  const reply =
    request.reply_to_message_id === undefined
      ? { wa_message_id: null }
      : await findLinked(trx, conversation, request.reply_to_message_id)
  if (reply === undefined) return refuse('reply_not_found')
  return {
    kind: 'placed',
    conversation_id: conversation.id,
    provider: conversation.provider,
    reply_to_wa_message_id: reply.wa_message_id,
    target_wa_message_id: target.wa_message_id,
  }
}

async function findConversation(
  trx: Transaction<Database>,
  request: OutboundRequest,
  rules: SenderRules,
): Promise<Conversation | Refused> {
  const { conversation_id, provider, to } = request
  if (conversation_id === undefined) return findByRecipient(trx, to ?? {}, provider, rules)
  await lockMergesShared(trx)
  const conversation = await findById(trx, conversation_id)
  if (conversation === undefined) return refuse('conversation_not_found')
  if (provider !== undefined && conversation.provider !== provider) return refuse('provider_mismatch')
  return conversation.business_number === '' ? refuse('no_sender') : conversation
}

async function findByRecipient(
  trx: Transaction<Database>,
  to: Recipient,
  provider: ProviderName | undefined,
  rules: SenderRules,
): Promise<Conversation | Refused> {
  const ref = recipientRef(to)
  if (ref === undefined) return refuse('recipient_invalid')
  const choice = await chooseSender(trx, { ref, provider }, rules)
  if (choice.kind === 'chosen') return choice.conversation
  return choice.kind === 'no_sender'
    ? refuse('no_sender')
    : { ...refuse('provider_not_configured'), provider: choice.provider }
}

function refuse(reason: Refusal): Refused {
  return { kind: 'refused', reason }
}

/** Locks it. Follows `merged_into`. */
async function findById(trx: Transaction<Database>, id: string): Promise<Conversation | undefined> {
  if (!isRowId(id)) return undefined
  const { rows } = await sql<Conversation>`
    SELECT v.id, v.provider, v.business_number FROM conversations o
    JOIN conversations v ON v.id = coalesce(o.merged_into, o.id) WHERE o.id = ${id} FOR NO KEY UPDATE OF v`.execute(
    trx,
  )
  return rows[0]
}

function recipientRef({ phone, user_id, group_id }: Recipient): ContactRef | undefined {
  if (group_id) return { group_id }
  const digits = phone === undefined ? undefined : phoneDigits(phone)
  if (phone !== undefined && digits === undefined) return undefined
  if (digits !== undefined) return { phone: digits }
  return user_id ? { user_id } : undefined
}

/**
 * A message of the conversation that has the provider's id, or will have it once it is sent. Follows merged messages.
 */
async function findLinked(
  trx: Transaction<Database>,
  conversation: Conversation,
  messageId: string,
): Promise<{ wa_message_id: string | null } | undefined> {
  if (!isRowId(messageId)) return undefined
  const { rows } = await sql<{ wa_message_id: string | null; status: string | null }>`
    SELECT nullif(m.wa_message_id, '') AS wa_message_id, m.status FROM chat_messages m
    WHERE m.conversation_id IN (SELECT id FROM ${partsOf(sql`${conversation.id}::bigint`)} part_of_it) AND m.id = coalesce(
      (SELECT kept_id::bigint FROM chat_messages_duplicates
       WHERE source_table = 'chat_messages' AND original_id = ${messageId} AND NOT EXISTS (
         SELECT FROM chat_messages o WHERE o.id = ${messageId}::bigint)
       ORDER BY id DESC LIMIT 1),
      ${messageId}::bigint)`.execute(trx)
  const [row] = rows
  if (row === undefined) return undefined
  const isOnItsWay = ['queued', 'sending', 'unknown'].includes(row.status ?? '')
  return row.wa_message_id === null && !isOnItsWay ? undefined : row
}

/** Whether a request's id has the form of a bigint, so that a query may cast it. */
export function isRowId(text: string): boolean {
  return /^\d{1,18}$/.test(text)
}
