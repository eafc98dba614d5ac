/**
 * What a webhook is about. Inbound messages, status callbacks and everything else may share one URL, and nothing in a
 * form says which it is: https://www.twilio.com/docs/messaging/guides/webhook-request
 */
import { type Fields, firstOf } from './fields.ts'

/** One of these is on every inbound message, whatever its type, and on no status callback. */
const MESSAGE_FIELDS = [
  'Body',
  'NumMedia',
  'MediaUrl0',
  'MessageType',
  'Latitude',
  'ButtonText',
  'ButtonPayload',
  'InteractiveData',
  'FlowData',
  'ListId',
]
/** Of Conversations, Voice and other products, which use some of the same names. */
const FOREIGN_FIELDS = ['ConversationSid', 'ChannelSid', 'CallSid', 'EventType']

/** MessageSid, SmsSid and SmsMessageSid say the same. */
export function messageSid(fields: Fields): string | undefined {
  return firstOf(fields, ['MessageSid', 'SmsSid', 'SmsMessageSid'])
}

/** The status word in lower case; READ and DELIVERED callbacks name it in EventType as well. */
export function statusWord(fields: Fields): string | undefined {
  const word = firstOf(fields, ['MessageStatus', 'SmsStatus']) ?? receiptWord(fields)
  return word?.toLowerCase()
}

export function eventKind(fields: Fields): 'message' | 'status' | 'other' {
  const word = statusWord(fields)
  const hasContent = firstOf(fields, MESSAGE_FIELDS) !== undefined
  // A status callback can say `received` as well: it then has MessageStatus, and no content.
  const isReceived = word === 'received' || word === 'receiving'
  if (isReceived && (hasContent || !fields.has('MessageStatus'))) return 'message'
  if (word !== undefined) return 'status'
  const isForeign = firstOf(fields, FOREIGN_FIELDS) !== undefined
  return hasContent && fields.has('From') && !isForeign ? 'message' : 'other'
}

/**
 * Whether both addresses are of another channel: SMS has none in front of a number, others have a word of their own
 * (`messenger:`, `rcs:`). A number of ours may receive both, at one URL. Without any address nothing says so.
 */
export function isOtherChannel(fields: Fields): boolean {
  const addresses = ['From', 'To'].flatMap((name) => fields.get(name) ?? [])
  const isWhatsApp =
    fields.has('WaId') ||
    fields.get('ChannelPrefix')?.toLowerCase() === 'whatsapp' ||
    addresses.some((address) => /^whatsapp:/i.test(address))
  return addresses.length > 0 && !isWhatsApp
}

/** The same as a SQL/JSON path predicate for stored payloads: webhooks, and entries of Twilio's list. */
export const OTHER_CHANNEL_PATH = [
  '(exists($.From) || exists($.To) || exists($.from) || exists($.to))',
  '!exists($.WaId)',
  ...['ChannelPrefix', 'From', 'To', 'from', 'to'].map(
    (name) => `!($.${name} like_regex "^whatsapp${name === 'ChannelPrefix' ? '$' : ':'}" flag "i")`,
  ),
].join(' && ')

function receiptWord(fields: Fields): string | undefined {
  const type = fields.get('EventType')
  return type !== undefined && /^(?:read|delivered)$/i.test(type) && messageSid(fields) !== undefined
    ? type
    : undefined
}
