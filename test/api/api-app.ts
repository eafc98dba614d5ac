/** The API over HTTP on a database of its own, and a client that has its token. */
import type { ApiDeps } from '../../src/api/api-deps.ts'
import type { MessageFact } from '../../src/core/fact.ts'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { messageItem } from '../support/facts.ts'
import { type HttpRequest, type HttpResponse, send } from '../support/http.ts'
import { META_PHONE_NUMBER_ID, wamid } from '../support/meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { type AdminApp, startAdminApp, withApiToken } from './admin-app.ts'

// biome-ignore lint/suspicious/noExplicitAny: answers of every route, looked into by the tests
export type ApiResponse = Omit<HttpResponse, 'json'> & { body: any }

export type ApiApp = AdminApp & {
  database: TestDatabase
  /** What the worker was told of. */
  notifications: ({ send: string } | { receipt: string })[]
  /** Stops the process, as far as the API is concerned. */
  stop(): void
  get(path: string, request?: HttpRequest): Promise<ApiResponse>
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<ApiResponse>
  /** Stores a message as if it had come in, and gives its ids. */
  receive(
    fact?: Partial<MessageFact>,
  ): Promise<{ id: string; conversation_id: string; wa_message_id: string }>
}

export async function startApi(overrides: Partial<Omit<ApiDeps, 'log'>> = {}): Promise<ApiApp> {
  const database = await createTestDatabase()
  const notifications: ApiApp['notifications'] = []
  const stopping = new AbortController()
  const app = await startAdminApp({
    db: database.db,
    defaultNumbers: { meta: META_PHONE_NUMBER_ID },
    uploadFolder: createTempDirectory(),
    notifySend: (messageId) => notifications.push({ send: messageId }),
    notifyReceipt: (conversationId) => notifications.push({ receipt: conversationId }),
    signal: stopping.signal,
    ...overrides,
  })
  const ask = async (path: string, request: HttpRequest = {}): Promise<ApiResponse> => {
    const headers = { ...withApiToken, ...request.headers }
    const { json, ...response } = await send(`${app.url}/api${path}`, { ...request, headers })
    return { ...response, body: response.text === '' ? undefined : json() }
  }
  return {
    ...app,
    database,
    notifications,
    stop: () => stopping.abort('test'),
    get: ask,
    post: (path, body, headers = {}) => ask(path, { method: 'POST', body, headers }),
    receive: async (fact = {}) => {
      const wa_message_id = fact.wa_message_id ?? wamid()
      await writeBatch(database.db, [messageItem(wa_message_id, fact)])
      const { rows } = await database.pool.query(
        'SELECT id, conversation_id FROM chat_messages WHERE wa_message_id = $1',
        [wa_message_id],
      )
      return { ...rows[0], wa_message_id }
    },
  }
}
