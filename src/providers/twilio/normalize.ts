/** What is stored of a Twilio event. The form is the provider's own object; these are the columns that people query. */
import { MAX_STATUS_BYTES, MAX_WA_MESSAGE_ID_BYTES, type WebhookEvent } from '../../core/event.ts'
import type { ContactRef, Fact, MessageFact, ParkedFact, StatusFact } from '../../core/fact.ts'
import { keyProblem } from '../../core/storable-key.ts'
import { present } from '../present.ts'
import type { Normalize } from '../provider.ts'
import {
  type Identifiers,
  isAddressTooLong,
  MAX_ADDRESS_BYTES,
  readAddress,
  readOtherAddress,
  readUserId,
} from './address.ts'
import { isOtherChannel, statusWord } from './event-kind.ts'
import { type Fields, firstOf, isTrue, readFields } from './fields.ts'
import { readMedia } from './media.ts'
import { readContent, readMessageType } from './message-content.ts'
import { readReferral } from './referral.ts'

/** ExternalUserId is what webhooks have, ExternalUserIdentifier what Twilio's changelog of July 2026 calls it. */
const USER_ID_FIELDS = [
  'ParentExternalUserId',
  'ExternalParentUserId',
  'ExternalUserIdentifier',
  'ExternalUserId',
]

export const normalizeTwilio: Normalize = (event) => {
  if (event.park !== undefined) return { kind: 'parked', reason: event.park }
  if (event.kind === 'unreadable') return parked('unreadable')
  if (event.kind === 'other') return OTHER
  try {
    return normalizeFields(event, readFields(event.payload))
  } catch (err) {
    return parked(`the payload cannot be read: ${err instanceof Error ? err.message : String(err)}`)
  }
}

const OTHER: Fact = { kind: 'other', identities: [], contacts: [] }

function normalizeFields(event: WebhookEvent, fields: Fields): Fact {
  const { kind, wa_message_id } = event
  // Earlier versions queued these as messages and statuses.
  if (event.context === undefined && isOtherChannel(fields)) return OTHER
  const tooLong = ['From', 'To'].find((name) => isAddressTooLong(fields.get(name)))
  if (tooLong !== undefined) return parked(`${tooLong} is longer than ${MAX_ADDRESS_BYTES} bytes`)
  if (wa_message_id === undefined) return parked('the event has no message id')
  if (kind === 'message') return readMessage(event, wa_message_id, fields)
  if (kind === 'status') return readStatus(event, wa_message_id, fields)
  return parked(`Twilio sends no events of kind ${kind}`)
}

function readMessage(event: WebhookEvent, wa_message_id: string, fields: Fields): MessageFact {
  const media = readMedia(fields)
  const frequently_forwarded = isTrue(fields, 'FrequentlyForwarded')
  return present<MessageFact>({
    kind: 'message',
    provider: 'twilio',
    account: event.account,
    business_number: event.business_number ?? '',
    direction: 'inbound',
    source: 'webhook',
    is_placeholder: false,
    wa_message_id,
    contact: readSender(fields),
    message_type: readMessageType(fields, media),
    content: readContent(fields),
    reply_to_wa_message_id: readReplyTo(fields),
    forwarded: frequently_forwarded || isTrue(fields, 'Forwarded'),
    frequently_forwarded,
    referral: readReferral(fields),
    media,
    // With ErrorUrl this is the call of the fallback URL: the error is of the first call, not of the message.
    error: fields.has('ErrorUrl') ? undefined : readErrors(fields),
  })
}

function readStatus(event: WebhookEvent, wa_message_id: string, fields: Fields): Fact {
  const status = statusWord(fields)
  if (status === undefined) return parked('the event has no status')
  const problem = keyProblem(status, MAX_STATUS_BYTES)
  if (problem !== undefined) return parked(`the status is ${problem}`)
  return present<StatusFact>({
    kind: 'status',
    provider: 'twilio',
    account: event.account,
    business_number: event.business_number ?? '',
    wa_message_id,
    status,
    participant: '',
    callback_id: readCallbackId(event.context),
    recipient: readRecipient(fields),
    errors: readErrors(fields),
  })
}

function readSender(fields: Fields): ContactRef {
  const named = {
    name: fields.get('ProfileName'),
    username: firstOf(fields, ['ProfileUsername', 'Username']),
  }
  return present<ContactRef>({ ...named, ...readIdentifiers(fields, 'From') })
}

/** ChannelToAddress is left alone: it is the recipient's number with its last digits masked. */
function readRecipient(fields: Fields): ContactRef | undefined {
  const recipient = readIdentifiers(fields, 'To')
  return Object.keys(recipient).length === 0 ? undefined : recipient
}

/**
 * An address holds a phone number or, where that is hidden, a user id; the user id of a contact with a number has a field
 * of its own. An address that is neither (the name of an SMS sender) identifies as it stands.
 */
function readIdentifiers(fields: Fields, addressField: 'From' | 'To'): Identifiers {
  const address = fields.get(addressField) ?? ''
  const known: Identifiers = addressField === 'From' ? readAddress(fields.get('WaId') ?? '') : {}
  Object.assign(known, readAddress(address))
  for (const name of USER_ID_FIELDS) Object.assign(known, readUserId(fields.get(name) ?? ''))
  return Object.keys(known).length > 0 ? known : readOtherAddress(address)
}

function readReplyTo(fields: Fields): string | undefined {
  const sid = fields.get('OriginalRepliedMessageSid')
  return sid !== undefined && Buffer.byteLength(sid) <= MAX_WA_MESSAGE_ID_BYTES ? sid : undefined
}

/** In the form of Meta's errors, so that one query finds both. */
function readErrors(fields: Fields): string | undefined {
  const code = fields.get('ErrorCode')
  if (code === undefined || code === '0') return undefined
  return JSON.stringify([
    {
      code: /^\d{1,15}$/.test(code) ? Number(code) : code,
      message: firstOf(fields, ['ErrorMessage', 'ChannelStatusMessage']),
    },
  ])
}

function readCallbackId(context: string | undefined): string | undefined {
  return context === undefined ? undefined : readFields(context).get('callback_id')
}

function parked(reason: string): ParkedFact {
  return { kind: 'parked', reason }
}
