/**
 * Statuses of messages that we sent.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/status
 */
import { MAX_PARTICIPANT_BYTES, MAX_STATUS_BYTES, type WebhookEvent } from '../../core/event.ts'
import type { ContactRef, Fact, StatusFact } from '../../core/fact.ts'
import { keyProblem } from '../../core/storable-key.ts'
import { present } from '../present.ts'
import type { MetaContext } from './envelope.ts'
import { contactRef, identifier, isIdentified, participantOf, recipientOf } from './identity.ts'
import { first, isObject, type JsonObject, jsonText, list, scalar, text, unixTime } from './json-reader.ts'
import { businessNumber, callbackId } from './metadata.ts'

export function statusFact(event: WebhookEvent, status: JsonObject, context: MetaContext): Fact {
  const word = text(status.status)
  if (event.wa_message_id === undefined || word === undefined)
    return { kind: 'parked', reason: 'status has no id or no status word' }
  return present<StatusFact>({
    kind: 'status',
    provider: 'meta',
    account: event.account,
    business_number: businessNumber(event, context),
    wa_message_id: event.wa_message_id,
    status: word,
    participant: groupParticipant(status),
    callback_id: callbackId(status),
    recipient: recipient(status, context),
    occurred_at: unixTime(status.timestamp),
    errors: list(status.errors).length > 0 ? JSON.stringify(status.errors) : undefined,
    pricing: isObject(status.pricing) ? jsonText(status.pricing) : undefined,
    conversation: isObject(status.conversation) ? jsonText(status.conversation) : undefined,
  })
}

/** Why this is no status that can be recorded under its word and participant, or undefined where it is one. */
export function statusProblem(status: JsonObject): string | undefined {
  const word = text(status.status)
  if (word === undefined) return 'status has no status word'
  const wordProblem = keyProblem(word, MAX_STATUS_BYTES)
  if (wordProblem !== undefined) return `status has a word ${wordProblem}`
  const participantProblem = keyProblem(groupParticipant(status), MAX_PARTICIPANT_BYTES)
  return participantProblem && `status has a participant ${participantProblem}`
}

/** In a group, one message gets each status once for every member; elsewhere there is only one recipient. */
export function groupParticipant(status: JsonObject): string {
  const { address, user_id, parent_user_id } = participantOf(status)
  return first(scalar(address), scalar(user_id), scalar(parent_user_id)) ?? ''
}

function recipient(status: JsonObject, context: MetaContext): ContactRef | undefined {
  if (status.recipient_type === 'group' || groupParticipant(status) !== '') {
    const group_id = identifier(status.recipient_id)
    return group_id === undefined ? undefined : { group_id }
  }
  const ref = contactRef(recipientOf(status), context.contact)
  return isIdentified(ref) ? ref : undefined
}
