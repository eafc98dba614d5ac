/**
 * Twilio webhooks as Twilio sends them. Signatures come from Twilio's own library, so that nothing here shares a
 * mistake with the code under test. The people are invented, their numbers from the 555 range, the SIDs invented hex.
 */
import { createHash } from 'node:crypto'
import { type ParsedUrlQuery, parse as parseQuery } from 'node:querystring'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks.js'
import type { IncomingWebhook } from '../../src/providers/provider.ts'

/** A list for a field that comes several times, undefined to leave one of the builder's fields out. */
export type TwilioForm = { readonly [name: string]: string | readonly string[] | undefined }

export const TWILIO_AUTH_TOKEN = 'c0ffee00c0ffee00c0ffee00c0ffee00'
export const TWILIO_ACCOUNT_SID = 'ACbeadfeedbeadfeedbeadfeedbeadfeed'
export const TWILIO_PUBLIC_URL = 'https://hooks.example.com'
export const TWILIO_PATH = '/webhooks/twilio'

/** A SID that is the same for the same number: `twilioSid(7)`, `twilioSid(7, 'MM')`. */
export function twilioSid(number: number, prefix = 'SM'): string {
  return prefix + `decade${number.toString(16)}`.padStart(32, '5e')
}

/** An inbound text message; `fields` override and add. */
export function twilioMessage(fields: TwilioForm = {}): TwilioForm {
  const sid = typeof fields.MessageSid === 'string' ? fields.MessageSid : twilioSid(1)
  return {
    SmsMessageSid: sid,
    NumMedia: '0',
    ProfileName: 'Ada Example',
    MessageType: 'text',
    SmsSid: sid,
    WaId: '15551230001',
    SmsStatus: 'received',
    Body: 'Is the blue one still there?',
    To: 'whatsapp:+15550001234',
    NumSegments: '1',
    ReferralNumMedia: '0',
    MessageSid: sid,
    AccountSid: TWILIO_ACCOUNT_SID,
    From: 'whatsapp:+15551230001',
    ApiVersion: '2010-04-01',
    ...fields,
  }
}

/** A status callback for a message of ours; READ and DELIVERED begin with EventType, as Twilio's do. */
export function twilioStatus(status: string, fields: TwilioForm = {}): TwilioForm {
  const sid = typeof fields.MessageSid === 'string' ? fields.MessageSid : twilioSid(2)
  const receipt = status === 'read' || status === 'delivered' ? { EventType: status.toUpperCase() } : {}
  return {
    ...receipt,
    SmsSid: sid,
    SmsStatus: status,
    MessageStatus: status,
    ChannelToAddress: '+1555123XXXX',
    To: 'whatsapp:+15551230001',
    ChannelPrefix: 'whatsapp',
    MessageSid: sid,
    AccountSid: TWILIO_ACCOUNT_SID,
    From: 'whatsapp:+15550001234',
    ApiVersion: '2010-04-01',
    ChannelInstallSid: 'XEfadefadefadefadefadefadefadefade',
    ...fields,
  }
}

/** The body, in the order of the fields, with spaces as `+`. */
export function encodeTwilioForm(form: TwilioForm): Buffer {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(form)) {
    for (const item of value === undefined ? [] : [value].flat()) body.append(name, item)
  }
  return Buffer.from(body.toString())
}

export type TwilioRequest = { authToken?: string; publicUrl?: string; url?: string; received_at?: number }

/** A form (or its body) as the signed request that reaches the service. */
export function twilioWebhook(form: TwilioForm | Buffer, request: TwilioRequest = {}): IncomingWebhook {
  const { url = TWILIO_PATH } = request
  const rawBody = Buffer.isBuffer(form) ? form : encodeTwilioForm(form)
  return signedRequest(rawBody, url, formParameters(rawBody), 'application/x-www-form-urlencoded', request)
}

/** A JSON body, signed by its digest in the URL. */
export function twilioJsonWebhook(body: unknown, request: TwilioRequest = {}): IncomingWebhook {
  const rawBody = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  const path = request.url ?? TWILIO_PATH
  const digest = createHash('sha256').update(rawBody).digest('hex')
  const url = `${path}${path.includes('?') ? '&' : '?'}bodySHA256=${digest}`
  return signedRequest(rawBody, url, {}, 'application/json', request)
}

function signedRequest(
  rawBody: Buffer,
  url: string,
  parameters: ParsedUrlQuery,
  contentType: string,
  {
    authToken = TWILIO_AUTH_TOKEN,
    publicUrl = TWILIO_PUBLIC_URL,
    received_at = 1_763_700_000_000,
  }: TwilioRequest,
): IncomingWebhook {
  return {
    rawBody,
    headers: {
      host: new URL(publicUrl).host,
      'content-type': contentType,
      'x-twilio-signature': getExpectedTwilioSignature(authToken, publicUrl + url, parameters),
    },
    url,
    received_at,
  }
}

/** What a web framework hands to Twilio's validator. */
function formParameters(rawBody: Buffer): ParsedUrlQuery {
  return parseQuery(rawBody.toString(), '&', '=', { maxKeys: 0 })
}
