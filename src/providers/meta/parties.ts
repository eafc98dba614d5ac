/**
 * Who wrote a message, and to whom: the direction, the other side of the conversation, and in a group the member.
 *
 * The contact may come out as `{}`: then the webhook names no contact, and the message belongs to the anonymous contact
 * of its business number.
 */
import type { WebhookEvent } from '../../core/event.ts'
import type { ContactRef, MessageFact } from '../../core/fact.ts'
import { phoneDigits, phoneKey } from '../../core/phone.ts'
import type { MetaContext } from './envelope.ts'
import { addresseeOf, contactRef, identifier, senderOf } from './identity.ts'
import { first, idText, type JsonObject, text } from './json-reader.ts'
import { displayedNumber } from './metadata.ts'

export type Parties = Pick<MessageFact, 'direction' | 'contact'> & { sender?: ContactRef | undefined }

export function partiesOf(event: WebhookEvent, message: JsonObject, context: MetaContext): Parties {
  if (event.kind === 'echo') return outbound(message, context)
  if (event.kind === 'history' && isFromBusiness(message, context)) return outbound(message, context)
  const named = contactRef(senderOf(message), context.contact)
  const sender = { ...contactRef({ address: context.thread_id }), ...named }
  const group_id = groupId(message)
  return group_id === undefined
    ? { direction: 'inbound', contact: sender }
    : { direction: 'inbound', contact: { group_id }, sender: named }
}

function outbound(message: JsonObject, context: MetaContext): Parties {
  const group_id = groupId(message)
  const named = contactRef(addresseeOf(message), context.contact)
  const contact =
    group_id === undefined ? { ...contactRef({ address: context.thread_id }), ...named } : { group_id }
  return { direction: 'outbound', contact }
}

function groupId(message: JsonObject): string | undefined {
  return first(
    identifier(message.group_id),
    message.recipient_type === 'group' ? identifier(message.to) : undefined,
  )
}

/** The history says `to` only of what the business wrote, and not always; else `from` is the business's own number. */
function isFromBusiness(message: JsonObject, context: MetaContext): boolean {
  if (text(message.to) !== undefined || text(message.to_user_id) !== undefined) return true
  const from = numberKey(message.from)
  const business = numberKey(displayedNumber(context))
  if (from === undefined) return false
  if (business !== undefined) return from === business
  const thread = numberKey(context.thread_id)
  return thread !== undefined && from !== thread
}

function numberKey(value: unknown): string | undefined {
  const digits = phoneDigits(idText(value) ?? '')
  return digits === undefined ? undefined : phoneKey(digits)
}
