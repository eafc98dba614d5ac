/** Twilio's Messages resource: send, and list. */
import { randomBytes } from 'node:crypto'
import { parse as parseQuery } from 'node:querystring'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks.js'
import { type Behaviour, type FakeCall, type FakeServer, startFakeServer } from './fake-server.ts'
import { send } from './http.ts'
import { encodeTwilioForm, twilioStatus } from './twilio-webhooks.ts'

export const TWILIO_SENDING_ACCOUNT = `AC${'b'.repeat(32)}`

export type TwilioResource = { [name: string]: unknown; sid: string; body: string | null }

export type FakeTwilio = FakeServer & {
  /** What it has taken, newest first, as its list shows it. */
  messages: TwilioResource[]
  /** The forms of the messages that were sent. */
  sent(): Record<string, string>[]
  /** Takes a message into the list without an answer: to be cut off afterwards. */
  take(call: FakeCall): TwilioResource
}

export async function startFakeTwilio(): Promise<FakeTwilio> {
  const messages: TwilioResource[] = []
  const take = (call: FakeCall): TwilioResource => {
    const resource = toResource(formOf(call))
    messages.unshift(resource)
    return resource
  }
  const server = await startFakeServer({
    isSend: (call) => call.method === 'POST',
    succeed: (call) => {
      if (call.method === 'POST') return { status: 201, body: take(call) }
      return { status: 200, body: listPage(messages, call.path) }
    },
  })
  return Object.assign(server, {
    messages,
    take,
    sent: () => server.calls.filter((call) => call.method === 'POST').map(formOf),
  })
}

export function formOf(call: FakeCall): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(call.body))
}

/** Twilio's answer to a message that it does not take. */
export function twilioError(code: number, { status = 400, message = 'refused' } = {}): Behaviour {
  return (_, exchange) =>
    exchange.answer(status, {
      code,
      message,
      more_info: `https://www.twilio.com/docs/errors/${code}`,
      status,
    })
}

/** Calls the StatusCallback of a message, signed. Twilio leaves the fragment out. */
export function callTwilioStatus(
  form: Record<string, string>,
  sid: string,
  status: string,
  authToken: string,
) {
  const url = String(form.StatusCallback).replace(/#.*$/, '')
  const body = encodeTwilioForm(
    twilioStatus(status, {
      MessageSid: sid,
      To: form.To,
      From: form.From,
      AccountSid: TWILIO_SENDING_ACCOUNT,
    }),
  )
  const signature = getExpectedTwilioSignature(authToken, url, parseQuery(body.toString()))
  return send(url, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-twilio-signature': signature },
    body: body.toString(),
  })
}

function toResource(form: Record<string, string>): TwilioResource {
  return {
    sid: `SM${randomBytes(16).toString('hex')}`,
    account_sid: TWILIO_SENDING_ACCOUNT,
    messaging_service_sid: form.MessagingServiceSid ?? null,
    to: form.To,
    from: form.From ?? null,
    body: form.Body ?? null,
    status: 'queued',
    direction: 'outbound-api',
    num_media: form.MediaUrl === undefined ? '0' : '1',
    error_code: null,
    error_message: null,
    date_created: new Date().toUTCString().replace('GMT', '+0000'),
  }
}

function listPage(messages: readonly TwilioResource[], path: string): object {
  const query = new URL(path, 'http://twilio').searchParams
  const size = Number(query.get('PageSize') ?? 50)
  const page = Number(query.get('Page') ?? 0)
  const found = messages.filter(
    ({ to, from }) =>
      (query.get('To') ?? to) === to && (query.get('From') === null || query.get('From') === from),
  )
  const hasMore = found.length > (page + 1) * size
  query.set('Page', String(page + 1))
  const next = `${path.split('?')[0]}?${query}`
  return { messages: found.slice(page * size, (page + 1) * size), next_page_uri: hasMore ? next : null }
}
