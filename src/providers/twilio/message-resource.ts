/**
 * Twilio's Message resource, as its lists have it. https://www.twilio.com/docs/messaging/api/message-resource
 *
 * It knows less than a webhook: no ProfileName, WaId, buttons, place, reply or referral, and of its files only how many
 * there are. It knows the time, which a webhook does not.
 */
import type { ContactRef, MessageFact } from '../../core/fact.ts'
import type { ListedMessage } from '../message-history.ts'
import { present } from '../present.ts'
import { isAddressTooLong, readAddress, readBusinessNumber, readOtherAddress } from './address.ts'
import { mediaType, readMedia } from './media.ts'
import { readContent, readMessageType } from './message-content.ts'
import { MESSAGE_SID } from './message-sid.ts'

export type Resource = { readonly [name: string]: unknown }

/** A file of a message: where Twilio keeps it, and what it is. */
export type ListedFile = { url: string; content_type: string }

const MAX_FILES = 10
/** Statuses of messages that are not sent yet, and may never be. */
const UNSENT = new Set(['scheduled', 'canceled'])

/** The entries of one page; undefined where the answer is no list of messages. */
export function readResources(body: unknown, name: 'messages' | 'media_list'): Resource[] | undefined {
  const items = isResource(body) ? body[name] : undefined
  return Array.isArray(items) ? items.filter(isResource) : undefined
}

export function isResource(value: unknown): value is Resource {
  return typeof value === 'object' && value !== null
}

/** The time in a field, RFC 2822 in whole seconds. */
export function timeOf(resource: Resource, name: string): Date | undefined {
  const text = resource[name]
  const time = typeof text === 'string' ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) ? undefined : new Date(time)
}

/** In the form of Meta's errors, as JSON text. */
export function errorsOf({ error_code, error_message }: Resource): string | undefined {
  return typeof error_code === 'number'
    ? JSON.stringify([{ code: error_code, message: error_message }])
    : undefined
}

export function isWhatsApp({ from, to }: Resource): boolean {
  return [from, to].some((address) => typeof address === 'string' && /^whatsapp:/i.test(address))
}

/** Undefined: it is not sent, or not yet, or no message at all. */
export function readListedMessage(resource: Resource): ListedMessage | undefined {
  const { sid, status } = resource
  const [from, to] = [textOf(resource.from), textOf(resource.to)]
  const direction = resource.direction === 'inbound' ? 'inbound' : 'outbound'
  const created_at = timeOf(resource, 'date_created')
  if (typeof sid !== 'string' || !MESSAGE_SID.test(sid) || created_at === undefined) return undefined
  if (from === undefined || to === undefined || isAddressTooLong(from) || isAddressTooLong(to))
    return undefined
  if (typeof status !== 'string' || UNSENT.has(status)) return undefined
  const isInbound = direction === 'inbound'
  return present<ListedMessage>({
    wa_message_id: sid,
    direction,
    account: textOf(resource.account_sid),
    business_number: readBusinessNumber(isInbound ? to : from),
    service: textOf(resource.messaging_service_sid),
    contact: contactAt(isInbound ? from : to),
    text: textOf(resource.body),
    files: Math.min(MAX_FILES, Number(resource.num_media) || 0),
    status: isInbound ? undefined : status.toLowerCase(),
    errors: errorsOf(resource),
    created_at,
    sent_at: timeOf(resource, 'date_sent'),
    updated_at: timeOf(resource, 'date_updated'),
    payload: JSON.stringify(resource),
  })
}

/** Read like the webhook's fields of the same meaning, so that both copies of a message say the same. */
export function contentOf(
  { text, files }: ListedMessage,
  listed: readonly ListedFile[],
): Pick<MessageFact, 'message_type' | 'content' | 'media'> {
  const fields = new Map(text === undefined ? [] : [['Body', text]])
  listed.forEach(({ url, content_type }, index) => {
    fields.set(`MediaUrl${index}`, url).set(`MediaContentType${index}`, content_type)
  })
  const media = readMedia(fields)
  const isFileGone = files > 0 && media.length === 0
  return present<Pick<MessageFact, 'message_type' | 'content' | 'media'>>({
    message_type: isFileGone ? mediaType({}) : readMessageType(fields, media),
    content: readContent(fields),
    media,
  })
}

function contactAt(address: string): ContactRef {
  const known = readAddress(address)
  return Object.keys(known).length > 0 ? known : readOtherAddress(address)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
