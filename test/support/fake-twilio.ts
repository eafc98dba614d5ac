/** Twilio's Messages resource: send, list, and the list of a message's files. */
import { randomBytes } from 'node:crypto'
import { type Behaviour, type FakeCall, type FakeServer, startFakeServer } from './fake-server.ts'

export const TWILIO_SENDING_ACCOUNT = `AC${'b'.repeat(32)}`

export type TwilioResource = { [name: string]: unknown; sid: string; body: string | null }

export type FakeTwilio = FakeServer & {
  /** The accepted messages, newest first, as Twilio's list shows them. */
  messages: TwilioResource[]
  /** The forms of the messages that were sent. */
  sent(): Record<string, string>[]
  /** Adds a message to the list without an answer; the test then cuts the connection. */
  take(call: FakeCall): TwilioResource
  /** Adds an entry at the place of its time: a text received `minutesAgo` (60), unless `fields` change it. */
  put(fields?: Partial<TwilioResource>, minutesAgo?: number): TwilioResource
  /** Files by the SID of their message. */
  files: Map<string, TwilioFile[]>
}

export type TwilioFile = { sid: string; content_type: string }

export type FakeTwilioOptions = {
  /** The calls to which the behaviours apply. */
  behavioursFor?: 'sends' | 'reads'
}

export async function startFakeTwilio({
  behavioursFor = 'sends',
}: FakeTwilioOptions = {}): Promise<FakeTwilio> {
  const files = new Map<string, TwilioFile[]>()
  const messages: TwilioResource[] = []
  const take = (call: FakeCall): TwilioResource => {
    const resource = toResource(formOf(call))
    messages.unshift(resource)
    return resource
  }
  const server = await startFakeServer({
    isSend: (call) => (call.method === 'POST') === (behavioursFor === 'sends'),
    succeed: (call) => {
      if (call.method === 'POST') return { status: 201, body: take(call) }
      const [, sid] = /\/Messages\/(\w+)\/Media\.json/.exec(call.path) ?? []
      if (sid !== undefined) return { status: 200, body: mediaPage(files.get(sid) ?? [], sid) }
      return { status: 200, body: listPage(messages, call.path) }
    },
  })
  const { reset } = server
  return Object.assign(server, {
    messages,
    files,
    take,
    reset: () => {
      reset()
      messages.length = 0
      files.clear()
    },
    put: (fields?: Partial<TwilioResource>, minutesAgo?: number) => {
      const resource = listedMessage(fields, minutesAgo)
      messages.push(resource)
      messages.sort((a, b) => sentAt(b) - sentAt(a))
      return resource
    },
    sent: () => server.calls.filter((call) => call.method === 'POST').map(formOf),
  })
}

export function formOf(call: FakeCall): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(call.body))
}

/** Twilio's answer to a message that it refuses. */
export function twilioError(code: number, { status = 400, message = 'refused' } = {}): Behaviour {
  return (_, exchange) =>
    exchange.answer(status, {
      code,
      message,
      more_info: `https://www.twilio.com/docs/errors/${code}`,
      status,
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
    date_created: twilioTime(Date.now()),
    date_sent: twilioTime(Date.now()),
  }
}

export function twilioTime(ms: number): string {
  return new Date(ms).toUTCString().replace('GMT', '+0000')
}

/** An entry of the list: a received text, unless `fields` change it. */
export function listedMessage(fields: Partial<TwilioResource> = {}, minutesAgo = 60): TwilioResource {
  const time = twilioTime(Date.now() - minutesAgo * 60_000)
  const isInbound = (fields.direction ?? 'inbound') === 'inbound'
  const [customer, business] = ['whatsapp:+15551230001', 'whatsapp:+15550001234']
  const sid = `SM${randomBytes(16).toString('hex')}`
  return {
    sid,
    account_sid: TWILIO_SENDING_ACCOUNT,
    api_version: '2010-04-01',
    body: 'Is the blue one still there?',
    date_created: time,
    date_sent: time,
    date_updated: time,
    direction: 'inbound',
    error_code: null,
    error_message: null,
    from: isInbound ? customer : business,
    to: isInbound ? business : customer,
    messaging_service_sid: null,
    num_media: '0',
    num_segments: '1',
    price: null,
    price_unit: null,
    status: isInbound ? 'received' : 'delivered',
    uri: `/2010-04-01/Accounts/${TWILIO_SENDING_ACCOUNT}/Messages/${sid}.json`,
    ...fields,
  }
}

function sentAt({ date_sent, date_created }: TwilioResource): number {
  return Date.parse(String(date_sent ?? date_created))
}

function mediaPage(files: readonly TwilioFile[], parent: string): object {
  return {
    media_list: files.map((file) => ({
      ...file,
      account_sid: TWILIO_SENDING_ACCOUNT,
      parent_sid: parent,
      uri: `/2010-04-01/Accounts/${TWILIO_SENDING_ACCOUNT}/Messages/${parent}/Media/${file.sid}.json`,
    })),
    next_page_uri: null,
  }
}

function listPage(messages: readonly TwilioResource[], path: string): object {
  const query = new URL(path, 'http://twilio').searchParams
  const size = Number(query.get('PageSize') ?? 50)
  const page = Number(query.get('Page') ?? 0)
  const day = query.get('DateSent')
  const found = messages.filter(
    (message) =>
      (query.get('To') ?? message.to) === message.to &&
      (query.get('From') === null || query.get('From') === message.from) &&
      (day === null || new Date(sentAt(message)).toISOString().startsWith(day)),
  )
  // Twilio's token names the last entry of the page before, so that entries which arrive meanwhile move nothing.
  const last = query.get('PageToken')?.slice('PA'.length)
  const start = last === undefined ? 0 : found.findIndex(({ sid }) => sid === last) + 1
  const entries = found.slice(start, start + size)
  query.set('Page', String(page + 1))
  query.set('PageToken', `PA${entries.at(-1)?.sid}`)
  const next = `${path.split('?')[0]}?${query}`
  return { messages: entries, next_page_uri: found.length > start + size ? next : null }
}
