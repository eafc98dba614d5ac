/** A fake of the messages and media of Meta's Graph API. */
import { type Behaviour, type FakeCall, type FakeServer, startFakeServer } from './fake-server.ts'
import { metaChange, metaStatus, metaWebhook, wamid } from './meta-webhooks.ts'

type Json = { [name: string]: unknown }

export type FakeMeta = FakeServer & {
  /** For META_GRAPH_URL. */
  graphUrl: string
  /** Bodies of the messages that were sent. */
  sent(): Json[]
  /** Bodies (multipart) of the uploaded files, each as text. */
  files(): string[]
  /** Ids of messages that were marked as read. */
  read(): unknown[]
  /** The id with which a message was accepted. */
  idOf(callbackId: string): string | undefined
  /** From now on the behaviours apply to read receipts too. */
  includeReceipts(): void
  /** The next message that is accepted gets this id. */
  acceptAs(id: string): void
}

export async function startFakeMeta(): Promise<FakeMeta> {
  const ids = new Map<string, string>()
  const given: string[] = []
  let files = 0
  let includesReceipts = false
  const server = await startFakeServer({
    isSend: (call) =>
      isMedia(call) ||
      (call.path.endsWith('/messages') && (includesReceipts || bodyOf(call).status === undefined)),
    succeed: (call) => {
      const body = bodyOf(call)
      if (isMedia(call)) return { status: 200, body: { id: `11668461814214${++files}` } }
      if (body.status === 'read') return { status: 200, body: { success: true } }
      const id = idFor(body)
      const contact = { input: body.to ?? body.recipient, wa_id: String(body.to ?? '').replace('+', '') }
      return { status: 200, body: { messaging_product: 'whatsapp', contacts: [contact], messages: [{ id }] } }
    },
  })
  /** The same message has one id, even if its answer is never sent. */
  function idFor(body: Json): string {
    const key = String(body.biz_opaque_callback_data)
    const id = ids.get(key) ?? given.shift() ?? wamid()
    ids.set(key, id)
    return id
  }
  const { reset } = server
  const bodies = () => server.calls.filter((call) => call.path.endsWith('/messages')).map(bodyOf)
  return Object.assign(server, {
    graphUrl: `${server.url}/v26.0`,
    sent: () => bodies().filter((body) => body.status === undefined),
    files: () => server.calls.filter(isMedia).map((call) => call.body),
    read: () => bodies().flatMap((body) => (body.status === 'read' ? [body.message_id] : [])),
    idOf: (callbackId: string) => ids.get(callbackId),
    includeReceipts: () => {
      includesReceipts = true
    },
    acceptAs: (id: string) => given.push(id),
    reset: () => {
      reset()
      ids.clear()
      given.length = 0
      files = 0
      includesReceipts = false
    },
  })
}

function isMedia(call: FakeCall): boolean {
  return call.path.endsWith('/media')
}

export function bodyOf(call: FakeCall): Json {
  try {
    return JSON.parse(call.body)
  } catch {
    return {}
  }
}

/** Meta's answer to a message that it refuses. */
export function metaError(code: number, { status = 400, message = 'refused' } = {}): Behaviour {
  return (_, exchange) =>
    exchange.answer(status, {
      error: { message: `(#${code}) ${message}`, type: 'OAuthException', code, fbtrace_id: 'AbCdEf' },
    })
}

/** The body of a webhook with a status of a message that was sent with this callback_id. */
export function metaStatusOf(id: string, status: string, callbackId: string): string {
  const item = metaStatus({ id, status, biz_opaque_callback_data: callbackId })
  return JSON.stringify(metaWebhook([metaChange({ statuses: [item] })]))
}

/** The body of a webhook with the echo of a message that was sent to this number. */
export function metaEchoOf(id: string, to: string, text: string): string {
  const echo = { from: '15550009999', to, id, timestamp: '1760000002', type: 'text', text: { body: text } }
  return JSON.stringify(metaWebhook([metaChange({ message_echoes: [echo] }, 'smb_message_echoes')]))
}
