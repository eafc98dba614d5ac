/**
 * Twilio webhooks as events: a form is one event, so is a JSON object (Conversations, a custom sender), and a JSON list
 * (Event Streams) is one for each item.
 */
import {
  EVENT_VERSION,
  type InboundJob,
  MAX_WA_MESSAGE_ID_BYTES,
  type WebhookEvent,
} from '../../core/event.ts'
import { contentJobId } from '../../core/job-id.ts'
import { scrubText } from '../../core/json-text.ts'
import { present } from '../present.ts'
import type { IncomingWebhook } from '../provider.ts'
import { readBusinessNumber } from './address.ts'
import { eventKind, isOtherChannel, messageSid, statusWord } from './event-kind.ts'
import { type Fields, firstOf, readFields } from './fields.ts'
import { formToJson, parseForm } from './form.ts'
import { readJsonItems } from './json-body.ts'
import { twilioJobIds } from './message-sid.ts'

/** Twilio names its fields like this; a body without any such name is not a form of Twilio's. */
const FIELD_NAME = /^[A-Za-z][\w.[\]-]{0,127}$/
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i
const UNREADABLE = 'the body is neither a form nor JSON'
/** `webhook_events.field` of messages and statuses that are not WhatsApp's. */
const OTHER_CHANNEL = 'other_channel'
const REPEATED_KEY = 'the body has an object with a key twice: the last one was read'

/** Never throws, and never returns nothing. */
export function parseTwilioWebhook({ rawBody, url, received_at }: IncomingWebhook): InboundJob[] {
  return parseBody(rawBody, urlContext(url), received_at)
}

/** See `Reparse`. */
export function reparseTwilio(event: WebhookEvent): InboundJob[] {
  const { kind, payload, context, received_at } = event
  if (kind === 'unreadable') return parseBody(Buffer.from(payload, 'base64'), context, received_at)
  try {
    return [toJob(payload, context, received_at)]
  } catch (err) {
    const park = `cannot be read again: ${err instanceof Error ? err.message : String(err)}`
    return [{ job_id: contentJobId(['twilio', kind, payload]), event: { ...event, park } }]
  }
}

function parseBody(rawBody: Buffer, context: string | undefined, received_at: number): InboundJob[] {
  const asBytes = (park: string) => unreadableJob(rawBody, { received_at, context, park })
  const json = readJsonItems(rawBody)
  const payloads = json?.items ?? readFormItem(rawBody)
  if (payloads === undefined) return [asBytes(UNREADABLE)]
  const jobs = payloads.map((payload) => toJob(payload, context, received_at))
  // The other values of a repeated key are in none of the items: the bytes keep them.
  return json?.hasRepeatedKey ? [...jobs, asBytes(REPEATED_KEY)] : jobs
}

function readFormItem(rawBody: Buffer): string[] | undefined {
  if (!rawBody.includes('=')) return undefined
  const form = parseForm(rawBody)
  return form.some(({ name }) => FIELD_NAME.test(name)) ? [formToJson(form)] : undefined
}

function toJob(payload: string, context: string | undefined, received_at: number): InboundJob {
  const fields = readFields(payload)
  const word = eventKind(fields)
  // A status with our callback_id is of a message that we have sent, whatever its addresses look like.
  const isForeign = word !== 'other' && context === undefined && isOtherChannel(fields)
  const kind = isForeign ? 'other' : word
  const sid = messageSid(fields)
  const problem = kind === 'other' ? undefined : idProblem(sid)
  const event = present<WebhookEvent>({
    v: EVENT_VERSION,
    kind,
    provider: 'twilio',
    received_at,
    wa_message_id: problem === undefined && kind !== 'other' ? sid : undefined,
    // As texts of their own these reach jsonb in the queue, which refuses U+0000.
    account: scrubbed(firstOf(fields, ['AccountSid', 'account_sid', 'accountSid'])),
    business_number: ownAddress(kind, fields),
    field: isForeign ? OTHER_CHANNEL : fieldOf(kind, fields),
    context,
    payload,
    park: problem,
  })
  return { job_id: jobId(event, fields), event }
}

function fieldOf(kind: WebhookEvent['kind'], fields: Fields): string | undefined {
  if (kind === 'message') return 'inbound'
  return kind === 'status' ? 'status' : scrubbed(fields.get('EventType'))
}

function jobId(event: WebhookEvent, fields: Fields): string {
  const { kind, wa_message_id, account = '', payload } = event
  if (kind === 'message' && wa_message_id !== undefined) return twilioJobIds.message(wa_message_id)
  if (kind === 'status' && wa_message_id !== undefined) {
    return twilioJobIds.status(wa_message_id, statusWord(fields) ?? '')
  }
  return contentJobId(['twilio', kind, account, payload])
}

function scrubbed(text: string | undefined): string | undefined {
  return text === undefined ? undefined : scrubText(text)
}

function idProblem(sid: string | undefined): string | undefined {
  if (sid === undefined) return 'no message id: MessageSid, SmsSid and SmsMessageSid are missing'
  if (Buffer.byteLength(sid) > MAX_WA_MESSAGE_ID_BYTES) {
    return `the message id is longer than ${MAX_WA_MESSAGE_ID_BYTES} bytes`
  }
  // As a scrubbed id it could meet another one.
  return scrubText(sid) === sid ? undefined : 'the message id has characters that PostgreSQL cannot store'
}

/** Our side: an inbound message is sent to it, a status is of a message from it. */
function ownAddress(kind: string, fields: Fields): string | undefined {
  if (kind === 'other') return undefined
  const address = kind === 'message' ? firstOf(fields, ['To', 'MessagingServiceSid']) : fields.get('From')
  return address === undefined ? undefined : readBusinessNumber(address)
}

/**
 * What the query of the URL says: the `callback_id` that a send put into its StatusCallback. The query is part of the
 * signature, and it arrives even where the response to the send, with the MessageSid, was lost.
 */
function urlContext(url: string): string | undefined {
  const query = url.includes('?') ? url.slice(url.indexOf('?') + 1) : ''
  const callback_id = new URLSearchParams(query).get('callback_id')
  return callback_id !== null && UUID.test(callback_id)
    ? JSON.stringify({ callback_id: callback_id.toLowerCase() })
    : undefined
}

function unreadableJob(
  rawBody: Buffer,
  around: { received_at: number; context: string | undefined; park: string },
): InboundJob {
  const payload = rawBody.toString('base64')
  const event = present<WebhookEvent>({
    v: EVENT_VERSION,
    kind: 'unreadable',
    provider: 'twilio',
    ...around,
    payload,
  })
  return { job_id: contentJobId(['twilio', 'unreadable', payload]), event }
}
