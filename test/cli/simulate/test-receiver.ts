/**
 * A receiver like ours in miniature: real HTTP, real signatures, real tables, and whatever fault a test asks for.
 */
import type { IncomingMessage, RequestListener } from 'node:http'
import type { InboundJob } from '../../../src/core/event.ts'
import { serve } from '../../support/http.ts'
import type { TestDatabase } from '../../support/postgres.ts'
import { providerWith } from '../../support/providers.ts'

export const APP_SECRET = 'app-secret-of-the-test'

export type ReceivedWebhook = {
  /** From 1, in the order of arrival. */
  number: number
  body: Buffer
  jobs: InboundJob[]
  /** Stores what it is given, each event once; resolves when it is there. */
  store(jobs: readonly InboundJob[]): Promise<void>
}

export type TestReceiver = {
  url: string
  webhooks: ReceivedWebhook[]
}

/** `answer` stores or does not, and says with which status the webhook is answered. */
export async function startReceiver(
  database: TestDatabase,
  answer: (webhook: ReceivedWebhook) => Promise<number> = storeAll,
): Promise<TestReceiver> {
  const provider = providerWith('meta', { META_APP_SECRET: APP_SECRET })
  const conversationId = await createConversation(database)
  const webhooks: ReceivedWebhook[] = []
  const listener: RequestListener = async (req, res) => {
    const body = await read(req)
    const webhook = { rawBody: body, headers: req.headers, url: req.url ?? '', received_at: Date.now() }
    if (!provider.isAuthentic(webhook)) {
      webhooks.push({ number: webhooks.length + 1, body, jobs: [], store: async () => {} })
      res.writeHead(401).end()
      return
    }
    const received: ReceivedWebhook = {
      number: webhooks.length + 1,
      body,
      jobs: provider.parse(webhook),
      store: (jobs) => storeEvents(database, conversationId, jobs),
    }
    webhooks.push(received)
    res.writeHead(await answer(received)).end()
  }
  return { url: await serve((req, res) => void listener(req, res)), webhooks }
}

export async function storeAll(webhook: ReceivedWebhook): Promise<number> {
  await webhook.store(webhook.jobs)
  return 200
}

async function read(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function createConversation({ pool }: TestDatabase): Promise<string> {
  const { rows } = await pool.query(`
    WITH contact AS (INSERT INTO contacts DEFAULT VALUES RETURNING id)
    INSERT INTO conversations (provider, business_number, contact_id)
    SELECT 'meta', '555000000000200', id FROM contact RETURNING id`)
  return rows[0].id
}

/** No ON CONFLICT target: without the unique index a redelivery becomes a second row. */
async function storeEvents(
  { pool }: TestDatabase,
  conversationId: string,
  jobs: readonly InboundJob[],
): Promise<void> {
  const ids = (kind: string) =>
    jobs.flatMap(({ event }) => (event.kind === kind ? [event.wa_message_id] : [])).sort()
  await pool.query(
    `INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type)
     SELECT $1, 'inbound', 'meta', id, 'webhook', 14, 'text' FROM unnest($2::text[]) AS u(id)
     ON CONFLICT DO NOTHING`,
    [conversationId, ids('message')],
  )
  const statuses = jobs
    .flatMap(({ event }) => (event.kind === 'status' ? [JSON.parse(event.payload)] : []))
    .sort((a, b) => (a.id + a.status < b.id + b.status ? -1 : 1))
  await pool.query(
    `INSERT INTO message_statuses (wa_message_id, status, provider, business_number, received_at)
     SELECT id, status, 'meta', '555000000000200', now() FROM unnest($1::text[], $2::text[]) AS u(id, status)
     ON CONFLICT DO NOTHING`,
    [statuses.map(({ id }) => id), statuses.map(({ status }) => status)],
  )
}
