/** The body of `POST /api/messages`, and the request to the database that it becomes. */
import { z } from 'zod'
import type { ProviderName } from '../core/event.ts'
import {
  MAX_CAPTION_LENGTH,
  MAX_FILENAME_LENGTH,
  MAX_TEXT_LENGTH,
  MAX_VARIABLE_LENGTH,
  USER_ID,
} from '../core/message-limits.ts'
import { OUTBOUND_MEDIA_TYPES, type OutboundRequest, type Recipient } from '../core/outbound.ts'
import { phoneDigits } from '../core/phone.ts'
import { id, isPlainText, PLAIN_TEXT } from './message-schema.ts'

/** Templates that Meta documents have about ten levels. */
const MAX_LEVELS = 64

/** zod counts characters as `countCharacters` does. */
function text(maxLength: number) {
  return z.string().max(maxLength).refine(isPlainText, PLAIN_TEXT)
}

const RECIPIENT_FORM = 'must be a phone number with country code (+15551230001) or a user id (US.1349…)'

const phone = z.string().transform((value, context) => {
  const digits = value.length <= 64 ? phoneDigits(value) : undefined
  if (digits !== undefined) return digits
  context.addIssue('must be a phone number with country code (+15551230001)')
  return z.NEVER
})

const recipientObject = z
  .strictObject({
    phone: phone.optional(),
    user_id: z.string().regex(USER_ID, 'must be a user id (US.1349…)').optional(),
    group_id: text(512).min(1).optional(),
  })
  .refine((to) => Object.values(to).filter((value) => value !== undefined).length === 1, {
    error: 'must have one of phone, user_id and group_id',
    abort: true,
  })

const recipientText = z.string().transform((value, context): Recipient => {
  const digits = value.length <= 64 ? phoneDigits(value) : undefined
  if (digits !== undefined) return { phone: digits }
  if (USER_ID.test(value)) return { user_id: value }
  context.addIssue(RECIPIENT_FORM)
  return z.NEVER
})

const to = z
  .union([recipientText, recipientObject], { error: (issue) => objectError(issue) ?? RECIPIENT_FORM })
  .meta({ id: 'Recipient', description: 'A phone number, a user id, or an object that says which of them.' })

/** For an object, the first error of the object's schema; zod itself would report the errors of both alternatives. */
function objectError({ input, errors }: { input?: unknown; errors?: unknown }): string | undefined {
  if (typeof input !== 'object' || input === null || !Array.isArray(errors)) return undefined
  const objectErrors: unknown = errors[1]
  const first: unknown = Array.isArray(objectErrors) ? objectErrors[0] : undefined
  return typeof first === 'object' && first !== null && 'message' in first ? String(first.message) : undefined
}

function sharedFields(providers: readonly ProviderName[]) {
  return {
    to: to.optional(),
    conversation_id: id
      .optional()
      .describe('Instead of `to`: the message is sent from the number of this conversation.'),
    provider: z.enum(providers).optional().describe('Needed if it does not follow from the conversation.'),
    reply_to: id.optional().describe('Our id of the message to answer.'),
  }
}

const mediaObject = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, error: 'must be a URL that the provider can fetch' })
      .max(2048)
      .refine(isPlainText, PLAIN_TEXT)
      .optional(),
    upload_id: z.uuid().optional().describe('The `id` that `POST /api/media` answered.'),
    id: text(512).min(1).optional().describe("Meta: Meta's id of a file that it already has."),
    caption: text(MAX_CAPTION_LENGTH).optional(),
    filename: text(MAX_FILENAME_LENGTH).optional().describe('Documents.'),
    mime_type: text(255).optional(),
    voice: z.boolean().optional().describe('Audio: shown as a voice message.'),
  })
  .refine(
    (media) => [media.url, media.upload_id, media.id].filter((value) => value !== undefined).length === 1,
    {
      error: 'must have one of url, upload_id and id',
      abort: true,
    },
  )
  .meta({ id: 'NewMedia', description: 'One of `url`, `upload_id` and `id`.' })

const template = z
  .union(
    [
      z.strictObject({
        name: text(512).min(1).describe('Meta: an approved template.'),
        language: text(15).min(2).describe('Meta: for example en_US.'),
        components: z
          .array(z.record(z.string(), z.unknown()))
          .max(20)
          .optional()
          .describe('As Meta documents them.'),
      }),
      z.strictObject({
        content_sid: z
          .string()
          .regex(/^HX[0-9a-f]{32}$/i)
          .describe('Twilio: an approved content template.'),
        variables: z.record(z.string(), text(MAX_VARIABLE_LENGTH)).optional(),
      }),
    ],
    { error: 'must have name and language (Meta), or content_sid (Twilio)' },
  )
  .meta({ id: 'NewTemplate' })

const contentOf = (shared: ReturnType<typeof sharedFields>) =>
  z.discriminatedUnion(
    'type',
    [
      z.strictObject({
        ...shared,
        type: z.literal('text'),
        text: text(MAX_TEXT_LENGTH)
          .min(1)
          .describe(
            'Characters are Unicode code points. A provider may take fewer of them, see the answer 422.',
          ),
        preview_url: z.boolean().optional().describe('Meta: shows a preview of the first link.'),
      }),
      z.strictObject({ ...shared, type: z.enum(OUTBOUND_MEDIA_TYPES), media: mediaObject }),
      z.strictObject({ ...shared, type: z.literal('template'), template }),
      z.strictObject({
        ...shared,
        type: z.literal('reaction'),
        reaction: z.strictObject({
          message_id: id.describe('Our id of the message to react to.'),
          emoji: text(32).describe("'' takes the reaction back."),
        }),
      }),
    ],
    {
      error: ({ code }) =>
        code === 'invalid_union'
          ? `must be one of text, template, reaction, ${OUTBOUND_MEDIA_TYPES.join(', ')}`
          : undefined,
    },
  )

/**
 * A message through one of these providers. The rule about `to` runs even when another rule fails, so that the answer lists
 * all errors.
 */
export function newMessageSchema(providers: readonly ProviderName[]) {
  return contentOf(sharedFields(providers))
    .refine(hasOneAddress, {
      error: 'must have either to or conversation_id',
      path: ['to'],
      when: () => true,
    })
    .refine((message) => message.type !== 'template' || isShallow(message.template, MAX_LEVELS), {
      error: `must not be nested deeper than ${MAX_LEVELS} levels`,
      path: ['template', 'components'],
    })
    .meta({ id: 'NewMessage', description: 'One of `to` and `conversation_id`, and what to send.' })
}

function hasOneAddress(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  const isGiven = (name: string) =>
    Object.entries(value).some(([key, item]) => key === name && item !== undefined)
  return isGiven('to') !== isGiven('conversation_id')
}

/** A deeply nested value would overflow the stack here and in PostgreSQL, which would answer 500. */
function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  return levels > 0 && Object.values(value).every((item) => isShallow(item, levels - 1))
}

type NewMessage = z.output<ReturnType<typeof newMessageSchema>>

/**
 * The message with the components of its template as they were written: they are the provider's, and may have numbers that
 * JSON.parse rounds. `exact`: the body from `exactBody`.
 */
export function withExactComponents(message: NewMessage, exact: unknown): NewMessage {
  if (exact === undefined || message.type !== 'template' || !('components' in message.template))
    return message
  const { components } = (exact as { template: { components?: Record<string, unknown>[] } }).template
  return { ...message, template: { ...message.template, components } }
}

export function toOutboundRequest({ reply_to, ...rest }: NewMessage): OutboundRequest {
  return { ...rest, ...(reply_to === undefined ? {} : { reply_to_message_id: reply_to }) }
}
