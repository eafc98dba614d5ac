/** Schemas of messages, conversations and changes. Ids are strings, because they can be larger than 2^53. */
import { z } from 'zod'
import type { ChangeView } from '../db/views/change-feed.ts'
import type { ContactView } from '../db/views/contact.ts'
import type { ConversationView } from '../db/views/conversation-list.ts'
import type { MessageView } from '../db/views/message.ts'
import type { StatusView } from '../db/views/message-list.ts'
import { PROVIDER_NAMES } from '../providers/index.ts'

/** The largest bigint of PostgreSQL, which refuses a larger number with an error. */
const MAX_ID = '9223372036854775807'

export const id = z
  .string()
  .regex(/^[1-9]\d{0,18}$/)
  .refine((value) => value.length < MAX_ID.length || value <= MAX_ID, 'must be the id of a row')

/** PostgreSQL and the providers refuse U+0000; half a surrogate pair is not a character. */
export function isPlainText(value: string): boolean {
  return !value.includes('\u0000') && value.isWellFormed()
}

export const PLAIN_TEXT = 'must be well-formed text without U+0000'

const time = z.iso.datetime().describe('ISO 8601, UTC')
const json = z.unknown()

const contact = z
  .strictObject({
    id,
    name: z.string().nullable(),
    username: z.string().nullable(),
    phone: z.string().nullable().describe('Digits with country code, as the provider wrote them.'),
    user_id: z.string().nullable().describe("The provider's id of a person who may have no phone number."),
    group_id: z.string().nullable(),
  })
  .meta({
    id: 'Contact',
    description: 'A person or a group. Unknown fields are null.',
  }) satisfies z.ZodType<ContactView>

const media = z
  .strictObject({
    id: z.string().nullable().describe("The provider's id of the file."),
    url: z
      .string()
      .nullable()
      .describe("The file's address at the provider; a request needs the provider's credentials."),
    mime_type: z.string().nullable(),
    sha256: z.string().nullable(),
    filename: z.string().nullable(),
    voice: z.boolean().nullable().describe('Recorded as a voice message.'),
  })
  .meta({ id: 'Media' })

const reaction = z
  .strictObject({
    message_id: id.describe("Id of the reaction's own row."),
    emoji: z.string(),
    direction: z.enum(['inbound', 'outbound']),
    sender_id: id.nullable().describe('In a group: the contact that reacted.'),
    status: z.string().nullable(),
    reacted_at: time,
  })
  .meta({ id: 'Reaction' })

const messageFields = {
  id,
  conversation_id: id,
  direction: z.enum(['inbound', 'outbound']),
  provider: z.string().describe(PROVIDER_NAMES.join(' or ')),
  business_number: z.string().describe('Meta: phone_number_id. Twilio: our address, digits only.'),
  wa_message_id: z.string().nullable().describe("The provider's id: wamid (Meta) or MessageSid (Twilio)."),
  client_message_id: z.string().nullable().describe('The Idempotency-Key that it was sent with.'),
  message_type: z.string().describe('text, image, reaction …; other words may be added at any time.'),
  content: z
    .string()
    .nullable()
    .describe('The text that a person reads: that of the latest edit, if there is one; null after a revoke.'),
  status: z
    .string()
    .nullable()
    .describe(
      'Outbound: queued < sending < unknown < accepted < sent < failed, undelivered < delivered < read < played. ' +
        'unknown: it may have been sent. Inbound: null.',
    ),
  error: z.array(json).nullable().describe("The provider's errors, in the form of Meta's: code, message …"),
  reply_to: id.nullable().describe('Our id of the message that this one answers.'),
  target: id.nullable().describe('Our id of the message that a reaction, edit or revoke is about.'),
  resend_of: id.nullable().describe('The message that this one sends again.'),
  resent_as: id.nullable().describe('The message that sends this one again.'),
  sent_at: time.nullable().describe("The provider's time."),
  received_at: time.nullable().describe('When the webhook arrived.'),
  created_at: time,
  updated_at: time,
  source: z
    .string()
    .describe(
      'webhook, echo (sent from the phone app), standby (in a conversation that another app holds: what the contact ' +
        'wrote to it, or what that app answered), history, backfill or api',
    ),
  contact: contact.describe('The other side of the conversation.'),
  sender: contact.nullable().describe('In a group: the contact that wrote the message.'),
  media: z.array(media),
  reactions: z.array(reaction).describe('The last reaction of each person.'),
  edited_at: time.nullable(),
  revoked_at: time.nullable(),
  forwarded: z.boolean(),
  frequently_forwarded: z.boolean(),
  referral: json.describe('The advertisement or post that the person came from; null for most.'),
}

export const message = z.strictObject(messageFields).meta({ id: 'Message' }) satisfies z.ZodType<MessageView>

const status = z
  .strictObject({
    status: z.string(),
    participant: z
      .string()
      .describe('In a group: the participant that the status is about; otherwise empty.'),
    occurred_at: time.nullable().describe("The provider's time."),
    received_at: time,
    errors: json,
  })
  .meta({ id: 'Status' }) satisfies z.ZodType<StatusView>

export const messageWithHistory = z
  .strictObject({
    ...messageFields,
    statuses: z.array(status).describe('Every status that the provider reported, in the order of its times.'),
    payload: json.describe("The provider's own object, unchanged; null for messages sent from here."),
  })
  .meta({ id: 'MessageWithHistory' })

export const conversation = z
  .strictObject({
    id,
    provider: z.string(),
    business_number: z.string(),
    contact,
    unread_count: z.int().describe('Counted among the newest 1,000 messages.'),
    last_read_message_id: z.string().nullable(),
    last_message: message.nullable(),
    last_message_at: time.nullable(),
    control: z
      .strictObject({
        holder: z.enum(['self', 'other']).describe('other: another app, such as Meta Business Agent.'),
        role: z
          .string()
          .nullable()
          .describe("The holder's role in the provider's words: ai_agent, escalation …"),
        since: time,
      })
      .nullable()
      .describe(
        'Which app answers here, where several share the number; null where the provider has said nothing.',
      ),
    created_at: time,
  })
  .meta({ id: 'Conversation' }) satisfies z.ZodType<ConversationView>

export const change = z
  .strictObject({
    cursor: z.string().describe('Read on from this cursor after this change is processed.'),
    kind: z
      .string()
      .describe(
        'message.created, message.updated, message.status, message.merged, conversation.read, conversation.control, ' +
          'conversation.merged, conversation.split; ' +
          'other kinds may be added at any time.',
      ),
    conversation_id: id.nullable(),
    message_id: id.nullable(),
    merged_into: id
      .nullable()
      .describe(
        'message.merged and conversation.merged: the message or conversation that this one was merged into.',
      ),
    created_at: time,
    message: message
      .nullable()
      .describe('The message at the time of reading, which may be later than the change.'),
  })
  .meta({ id: 'Change' }) satisfies z.ZodType<ChangeView>

export function listOf<Item extends z.ZodType>(item: Item) {
  return z.strictObject({
    items: z.array(item),
    next_cursor: z.string().nullable().describe('Cursor of the next page; null on the last page.'),
  })
}

export const limit = z.coerce
  .number('must be a whole number from 1 to 200')
  .int('must be a whole number from 1 to 200')
  .min(1, 'must be a whole number from 1 to 200')
  .max(200, 'must be a whole number from 1 to 200')
