/**
 * Finds a text whose response was lost in Twilio's list of messages. The list is queried by recipient, and its entries are
 * compared by sender, text and time. https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources
 */

import type { ProviderAnswer } from '../call.ts'
import { present } from '../present.ts'
import type { SentMessage, SentQuery } from '../sender.ts'
import { readBusinessNumber } from './address.ts'
import { errorsOf, type Resource, readResources, timeOf } from './message-resource.ts'
import { recipientAddress, senderField } from './send-address.ts'

/** Twilio's list is newest first. */
const PAGE_SIZE = 100
const MAX_PAGES = 5

/** Undefined when Twilio did not answer, or has had so many messages since that the list does not reach back. */
export async function findSentMessages(
  query: SentQuery,
  get: (path: string) => Promise<ProviderAnswer>,
  path: string,
): Promise<SentMessage[] | undefined> {
  const to = recipientAddress(query.recipient)
  if (to === undefined) return undefined
  const sender = senderField(query.business_number)
  const parameters = new URLSearchParams({ To: to, PageSize: String(PAGE_SIZE), ...pick(sender, 'From') })
  const found: SentMessage[] = []
  let next: string | undefined = `${path}?${parameters}`
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer: ProviderAnswer = await get(next)
    if (answer.kind !== 'answered' || answer.status !== 200) return undefined
    const { messages, next_page_uri } = readPage(answer.body)
    const matching = messages.filter((message) => isMatch(message, query, sender))
    found.push(...matching.flatMap(describe))
    const oldest = messages.at(-1)
    next = next_page_uri
    if (next === undefined || oldest === undefined || createdAt(oldest) < query.after.getTime()) return found
  }
  return undefined
}

function readPage(body: unknown): { messages: Resource[]; next_page_uri: string | undefined } {
  const { next_page_uri } = (typeof body === 'object' && body !== null ? body : {}) as Resource
  return {
    messages: readResources(body, 'messages') ?? [],
    next_page_uri:
      typeof next_page_uri === 'string' && next_page_uri.startsWith('/') ? next_page_uri : undefined,
  }
}

function isMatch(message: Resource, query: SentQuery, sender: Record<string, string>): boolean {
  const created = createdAt(message)
  const isFromUs =
    sender.MessagingServiceSid === undefined
      ? message.from === sender.From
      : message.messaging_service_sid === sender.MessagingServiceSid
  return (
    isFromUs &&
    message.direction === 'outbound-api' &&
    typeof message.body === 'string' &&
    withoutEdges(message.body) === withoutEdges(query.text) &&
    created >= query.after.getTime() &&
    created <= query.before.getTime()
  )
}

/**
 * Twilio does not say whether it keeps blanks at the ends of a text, and CRLF. A text that it changes in another way is not found: the
 * message stays in doubt, which is better than another message's id.
 */
function withoutEdges(text: string): string {
  return text.replaceAll(/\r\n?/g, '\n').replace(/^[ \t\n]+|[ \t\n]+$/g, '')
}

/** NaN where it is none, which is never in a time. */
function createdAt(message: Resource): number {
  return timeOf(message, 'date_created')?.getTime() ?? Number.NaN
}

function describe(message: Resource): SentMessage[] {
  const { sid, status, from, account_sid } = message
  if (typeof sid !== 'string' || typeof status !== 'string') return []
  return [
    present<SentMessage>({
      wa_message_id: sid,
      status,
      business_number: readBusinessNumber(typeof from === 'string' ? from : undefined),
      account: typeof account_sid === 'string' ? account_sid : undefined,
      errors: errorsOf(message),
      payload: JSON.stringify(message),
    }),
  ]
}

function pick(fields: Record<string, string>, name: string): Record<string, string> {
  const value = fields[name]
  return value === undefined ? {} : { [name]: value }
}
