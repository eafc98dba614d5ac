/** Messages of every kind: received, echoed from the phone app, synchronised from its history. */
import type { WebhookEvent } from '../../core/event.ts'
import type { ContactRef, Fact, MessageFact, MessageSource } from '../../core/fact.ts'
import type { KnownStatus } from '../../core/status.ts'
import { present } from '../present.ts'
import type { MetaContext } from './envelope.ts'
import { isIdentified } from './identity.ts'
import { type JsonObject, jsonText, object, text, unixTime } from './json-reader.ts'
import { messageContent } from './message-content.ts'
import { repliedMessageId, targetMessageId } from './message-links.ts'
import { messageMedia } from './message-media.ts'
import { messageType } from './message-type.ts'
import { businessNumber, callbackId } from './metadata.ts'
import { type Parties, partiesOf } from './parties.ts'
import { sentMessage } from './sent-message.ts'
import { identityChange, newIdentity, oldIdentity } from './system-identity.ts'

/** Stands in for media of the history, which comes later in a webhook of its own, under the same id. */
const PLACEHOLDER = 'media_placeholder'

/** How far behind our own clock may be. */
const MAX_CLOCK_DIFFERENCE_MS = 5 * 60_000

const SOURCES = { message: 'webhook', echo: 'echo', history: 'history' } as const

/** `history_context.status` of what the business sent; `PENDING` has not left the phone app's side yet. */
const HISTORY_STATUSES: Readonly<Record<string, KnownStatus>> = {
  PENDING: 'accepted',
  SENT: 'sent',
  DELIVERED: 'delivered',
  READ: 'read',
  PLAYED: 'played',
  ERROR: 'failed',
}

export function messageFact(
  event: WebhookEvent & { kind: keyof typeof SOURCES },
  item: JsonObject,
  context: MetaContext,
): Fact {
  if (event.wa_message_id === undefined) return { kind: 'parked', reason: `${event.kind} has no id` }
  const message = event.kind === 'echo' ? sentMessage(item) : item
  const type = messageType(message)
  const parties = partiesOf(event, message, context)
  const sent_at = unixTime(message.timestamp)
  const around = object(message.context)
  const frequently_forwarded = around.frequently_forwarded === true
  return present<MessageFact>({
    kind: 'message',
    provider: 'meta',
    account: event.account,
    business_number: businessNumber(event, context),
    direction: parties.direction,
    source: sourceOf(event.kind, context),
    is_placeholder: event.kind === 'history' && type === PLACEHOLDER,
    wa_message_id: event.wa_message_id,
    callback_id: callbackId(message),
    contact: contactOf(message, parties),
    sender: parties.sender,
    message_type: type,
    content: messageContent(message),
    reply_to_wa_message_id: repliedMessageId(message),
    target_wa_message_id: targetMessageId(message),
    forwarded: around.forwarded === true || frequently_forwarded,
    frequently_forwarded,
    referral: jsonText(message.referral),
    media: messageMedia(message),
    status: parties.direction === 'outbound' ? outboundStatus(event, message) : undefined,
    error: jsonText(message.errors),
    sent_at,
    identity: identityChange(message, parties.sender ?? parties.contact, changeTime(sent_at, event)),
  })
}

function sourceOf(kind: keyof typeof SOURCES, { is_standby = false }: MetaContext): MessageSource {
  return is_standby && kind !== 'history' ? 'standby' : SOURCES[kind]
}

/**
 * When a change of identity happened, if Meta's time can be true. The time of receipt is no substitute: each redelivery
 * would be another change, and take the number from the contact that has it by then.
 */
function changeTime(sent_at: Date | undefined, { received_at }: WebhookEvent): Date | undefined {
  const isTold = sent_at !== undefined && sent_at.getTime() <= received_at + MAX_CLOCK_DIFFERENCE_MS
  return isTold ? sent_at : undefined
}

/** A change of identity is a message in the contact's conversation under the old identity. */
function contactOf(message: JsonObject, { contact, sender }: Parties): ContactRef {
  if (sender !== undefined) return contact
  const old = oldIdentity(message, contact)
  return isIdentified(old) ? old : (newIdentity(message) ?? old)
}

function outboundStatus(event: WebhookEvent, message: JsonObject): KnownStatus | undefined {
  if (event.kind === 'echo') return 'sent'
  const status = text(object(message.history_context).status)?.toUpperCase() ?? ''
  return Object.hasOwn(HISTORY_STATUSES, status) ? HISTORY_STATUSES[status] : undefined
}
