/**
 * Sending through Meta's Cloud API.
 * https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
 */
import { MAX_WA_MESSAGE_ID_BYTES } from '../../core/event.ts'
import type { OutboundContent, OutboundMessage, Recipient, SendResult } from '../../core/outbound.ts'
import { callProvider, credentialDigest, type ProviderAnswer } from '../call.ts'
import { type ReceiptResult, type Sender, unanswered } from '../sender.ts'
import { copyFileToMeta } from './copy-file.ts'
import { isObject, list, object, text } from './json-reader.ts'
import { metaJobIds } from './message-id.ts'
import { readMetaError } from './send-errors.ts'

export type MetaSenderSettings = {
  accessToken: string
  /** With the version, without a final slash. */
  graphUrl: string
}

export function createMetaSender(settings: MetaSenderSettings): Sender {
  return {
    jobIds: metaJobIds,
    credentialDigest: credentialDigest(settings.accessToken),
    send: async (message, signal) =>
      isForTwilio(message.content)
        ? { kind: 'failed', error: TEMPLATE_FOR_TWILIO }
        : readSendAnswer(await post(settings, message.business_number, messageBody(message), signal)),
    copyFile: (file, signal) => copyFileToMeta(settings, file, signal),
    markRead: async ({ business_number, wa_message_id }, signal) => {
      const body = { messaging_product: 'whatsapp', status: 'read', message_id: wa_message_id }
      return readReceiptAnswer(await post(settings, business_number, body, signal))
    },
  }
}

function post(
  { accessToken, graphUrl }: MetaSenderSettings,
  phoneNumberId: string,
  body: object,
  signal: AbortSignal,
): Promise<ProviderAnswer> {
  return callProvider({
    url: `${graphUrl}/${encodeURIComponent(phoneNumberId)}/messages`,
    headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
    secrets: [accessToken],
  })
}

function isForTwilio(content: OutboundContent): boolean {
  return content.type === 'template' && content.template.name === undefined
}

const TEMPLATE_FOR_TWILIO = {
  code: 'unsupported',
  message: 'a template for Meta needs a name and a language',
}

/**
 * Undefined fields are left out of the JSON. The callback id comes back in every status, to every app on the business
 * account; it has a meaning only here.
 */
function messageBody(message: OutboundMessage): object {
  const { content, callback_id, reply_to_wa_message_id, recipient } = message
  return {
    messaging_product: 'whatsapp',
    ...recipientFields(recipient),
    type: content.type,
    [content.type]: contentBody(content, message.target_wa_message_id),
    context: reply_to_wa_message_id === undefined ? undefined : { message_id: reply_to_wa_message_id },
    biz_opaque_callback_data: callback_id,
  }
}

/** Without `+` Meta puts the business's own country code in front of a number. */
function recipientFields({ phone, user_id, group_id }: Recipient): object {
  if (group_id !== undefined) return { recipient_type: 'group', to: group_id }
  const recipient_type = 'individual'
  return phone === undefined ? { recipient_type, recipient: user_id } : { recipient_type, to: `+${phone}` }
}

function contentBody(content: OutboundContent, targetId: string | undefined): object {
  switch (content.type) {
    case 'text':
      return { body: content.text, preview_url: content.preview_url }
    case 'reaction':
      return { message_id: targetId, emoji: content.reaction.emoji }
    case 'template': {
      const { name, language, components } = content.template
      return { name, language: { code: language }, components }
    }
    default: {
      const { url, id, caption, filename, voice } = content.media
      const named = content.type === 'document' ? { filename } : {}
      return { ...(id === undefined ? { link: url } : { id }), caption, ...named, voice }
    }
  }
}

function readSendAnswer(answer: ProviderAnswer): SendResult {
  if (answer.kind !== 'answered') return unanswered(answer)
  const { status, body } = answer
  const isError = status < 200 || status > 299 || (isObject(body) && isObject(body.error))
  if (isError) return readMetaError(status, body)
  const id = text(object(list(object(body).messages)[0]).id)
  if (id !== undefined && isMessageId(id)) return { kind: 'accepted', wa_message_id: id }
  return { kind: 'unknown', error: { code: 'no_message_id', message: 'the answer names no message' } }
}

function isMessageId(id: string): boolean {
  return Buffer.byteLength(id) <= MAX_WA_MESSAGE_ID_BYTES && /^[\x21-\x7e]+$/.test(id)
}

function readReceiptAnswer(answer: ProviderAnswer): ReceiptResult {
  if (answer.kind === 'answered' && answer.status >= 200 && answer.status <= 299) return { kind: 'done' }
  const result = answer.kind === 'answered' ? readMetaError(answer.status, answer.body) : unanswered(answer)
  if (result.kind === 'accepted') return { kind: 'done' }
  return { kind: result.kind === 'failed' ? 'failed' : 'retry', error: result.error }
}
