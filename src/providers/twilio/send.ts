/**
 * Sending through Twilio's Messages resource. https://www.twilio.com/docs/messaging/api/message-resource
 *
 * It has no idempotency key. Our callback_id in the address for statuses correlates a message: the address is signed, and a
 * status arrives also where the response with the SID was lost.
 */
import type {
  OutboundContent,
  OutboundMedia,
  OutboundMessage,
  SendError,
  SendResult,
  Upload,
} from '../../core/outbound.ts'
import { callProvider, credentialDigest, type ProviderAnswer } from '../call.ts'
import { type Sender, unanswered } from '../sender.ts'
import { findSentMessages } from './find-sent.ts'
import { createTwilioHistory } from './history.ts'
import { mediaLinkPath } from './media-link.ts'
import { MESSAGE_SID, twilioJobIds } from './message-sid.ts'
import { isMessagingService, recipientAddress, senderField } from './send-address.ts'
import { readTwilioError } from './send-errors.ts'

export type TwilioSenderSettings = {
  accountSid: string
  authToken: string
  /** Without a final slash. */
  apiUrl: string
  /** Absent: no statuses come back. */
  publicUrl?: string | undefined
}

export type TwilioCall = (
  path: string,
  options: { body?: URLSearchParams; signal: AbortSignal },
) => Promise<ProviderAnswer>

/**
 * Twilio gives up a webhook after 15 s and one retry on failed connections; this asks for five on everything.
 * https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
 */
const CONNECTION_OVERRIDES = '#rc=5&rp=all&ct=2000&rt=5000&tt=15000'

export function createTwilioSender(settings: TwilioSenderSettings): Sender {
  const call = createCall(settings)
  const messages = `/2010-04-01/Accounts/${settings.accountSid}/Messages.json`
  return {
    jobIds: twilioJobIds,
    credentialDigest: credentialDigest(settings.accountSid, settings.authToken),
    send: async (message, signal) => {
      const body = messageForm(message, settings)
      return 'error' in body
        ? { kind: 'failed', ...body }
        : readSendAnswer(await call(messages, { body, signal }), message.business_number)
    },
    findSent: (query, signal) => findSentMessages(query, (path) => call(path, { signal }), messages),
    history: createTwilioHistory((path, signal) => call(path, { signal }), settings),
  }
}

function createCall({ accountSid, authToken, apiUrl }: TwilioSenderSettings): TwilioCall {
  const basic = Buffer.from(`${accountSid}:${authToken}`).toString('base64')
  return (path, { body, signal }) =>
    callProvider({
      url: apiUrl + path,
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Basic ${basic}` },
      ...(body === undefined ? {} : { body }),
      signal,
      secrets: [authToken, basic],
    })
}

type Unsendable = { error: SendError }
type ContentFields = { fields: Record<string, string>; error?: undefined } | Unsendable

function messageForm(message: OutboundMessage, settings: TwilioSenderSettings): URLSearchParams | Unsendable {
  const content = contentFields(message, settings)
  const to = recipientAddress(message.recipient)
  if (to === undefined) return unsendable('Twilio sends to no groups')
  if (content.error !== undefined) return { error: content.error }
  const callback = statusCallback(settings.publicUrl, message.callback_id)
  return new URLSearchParams({
    To: to,
    ...senderField(message.business_number),
    ...content.fields,
    ...callback,
  })
}

function contentFields(
  { content, upload }: { content: OutboundContent; upload?: Upload },
  settings: TwilioSenderSettings,
): ContentFields {
  switch (content.type) {
    case 'text':
      return { fields: { Body: content.text } }
    case 'reaction':
      return unsendable('Twilio sends no reactions')
    case 'template': {
      const { content_sid, variables } = content.template
      if (content_sid === undefined) return unsendable('a template for Twilio needs a content_sid')
      const filled = variables === undefined ? {} : { ContentVariables: JSON.stringify(variables) }
      return { fields: { ContentSid: content_sid, ...filled } }
    }
    default: {
      const { caption } = content.media
      const url = mediaUrl(content.media, upload, settings)
      if (url === undefined) return unsendable('media for Twilio needs a URL, or PUBLIC_URL for an upload')
      return { fields: { MediaUrl: url, ...(caption === undefined ? {} : { Body: caption }) } }
    }
  }
}

function mediaUrl(
  media: OutboundMedia,
  upload: Upload | undefined,
  { publicUrl, authToken }: TwilioSenderSettings,
): string | undefined {
  if (upload === undefined || publicUrl === undefined) return media.url
  return publicUrl + mediaLinkPath(upload.id, authToken)
}

function unsendable(message: string): Unsendable {
  return { error: { code: 'unsupported', message } }
}

function statusCallback(publicUrl: string | undefined, callbackId: string): Record<string, string> {
  if (publicUrl === undefined) return {}
  return {
    StatusCallback: `${publicUrl}/webhooks/twilio?callback_id=${callbackId}${CONNECTION_OVERRIDES}`,
  }
}

function readSendAnswer(answer: ProviderAnswer, businessNumber: string): SendResult {
  if (answer.kind !== 'answered') return unanswered(answer)
  const { status, body } = answer
  if (status < 200 || status > 299) return readTwilioError(status, body)
  const sid = typeof body === 'object' && body !== null && 'sid' in body ? body.sid : undefined
  if (typeof sid === 'string' && MESSAGE_SID.test(sid)) {
    const chosen = isMessagingService(businessNumber) ? { isNumberChosen: true } : {}
    return { kind: 'accepted', wa_message_id: sid, ...chosen }
  }
  return { kind: 'unknown', error: { code: 'no_message_id', message: 'the answer names no message' } }
}
