/** The HTTP half of the contenders that are not wa-ingest: Express 5, the raw body, the signature, the events in it. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import express, { type Express } from 'express'
import type { AppEvent } from './app-store.ts'

type MetaMessage = { id: string; from?: string; from_user_id?: string; timestamp: string; type: string }
type MetaText = { text?: { body: string }; image?: { caption?: string } }
type MetaStatus = { id: string; status: string; timestamp: string }
type MetaContact = { wa_id?: string; user_id?: string; profile?: { name?: string } }
type MetaValue = {
  metadata: { phone_number_id: string }
  contacts?: MetaContact[]
  messages?: (MetaMessage & MetaText)[]
  statuses?: MetaStatus[]
}
export type MetaBody = { entry: { changes: { value: MetaValue }[] }[] }

/** Answers 200 when `accept` has resolved, 401 when Meta has not signed the body, and 500 when `accept` has failed. */
export function createWebhookApp(accept: (events: AppEvent[]) => Promise<void>): Express {
  const app = express()
  app.disable('x-powered-by')
  app.post('/webhooks/meta', express.raw({ type: () => true, limit: '4mb' }), async (req, res) => {
    const body: Buffer = req.body
    if (!isSigned(body, req.get('x-hub-signature-256'))) {
      res.sendStatus(401)
      return
    }
    await accept(eventsOf(JSON.parse(body.toString())))
    res.status(200).end()
  })
  return app
}

export function isSigned(body: Buffer, header: string | undefined): boolean {
  const secret = process.env.META_APP_SECRET ?? ''
  const expected = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
  return header?.length === expected.length && timingSafeEqual(Buffer.from(header), Buffer.from(expected))
}

export function eventsOf(body: MetaBody): AppEvent[] {
  return body.entry.flatMap(({ changes }) => changes.flatMap(({ value }) => eventsOfValue(value)))
}

function eventsOfValue(value: MetaValue): AppEvent[] {
  const messages = (value.messages ?? []).map((message): AppEvent => {
    const customer = message.from ?? message.from_user_id ?? ''
    const contact = value.contacts?.find(({ wa_id, user_id }) => wa_id === customer || user_id === customer)
    return {
      kind: 'message',
      id: message.id,
      business_number: value.metadata.phone_number_id,
      customer,
      name: contact?.profile?.name ?? null,
      type: message.type,
      text: message.text?.body ?? message.image?.caption ?? null,
      sent_at: timeOf(message.timestamp),
      payload: JSON.stringify(message),
    }
  })
  const statuses = (value.statuses ?? []).map(
    (status): AppEvent => ({
      kind: 'status',
      id: status.id,
      status: status.status,
      occurred_at: timeOf(status.timestamp),
      payload: JSON.stringify(status),
    }),
  )
  return [...messages, ...statuses]
}

function timeOf(seconds: string): string {
  return new Date(Number(seconds) * 1_000).toISOString()
}

/** Listens on PORT, says so, and ends everything on SIGTERM. */
export function serve(app: Express, close: () => Promise<unknown> = async () => {}): void {
  const server = app.listen(Number(process.env.PORT), '127.0.0.1', () => process.stdout.write('ready\n'))
  server.keepAliveTimeout = 65_000
  process.once('SIGTERM', () => {
    server.close()
    server.closeAllConnections()
    void close()
  })
}
