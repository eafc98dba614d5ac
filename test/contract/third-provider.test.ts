/**
 * A provider is a folder and a line: an invented one (test/support/pigeon) receives and sends through the whole service, of
 * which no file knows it.
 */
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { runService } from '../../src/cli/service/run-service.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { createLogger } from '../../src/logger/logger.ts'
import { PROVIDERS } from '../../src/providers/index.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import type { FakeServer } from '../support/fake-server.ts'
import { bearerAuth, send } from '../support/http.ts'
import { pigeon } from '../support/pigeon/definition.ts'
import {
  flightBody,
  type Letter,
  letterBody,
  letterId,
  PIGEON_LOFT,
  PIGEON_SECRET,
  PIGEON_TOKEN,
  pigeonHeaders,
  startFakePigeon,
} from '../support/pigeon/fake-pigeon.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const API_TOKEN = 'token-of-the-test-client'
let database: TestDatabase
let post: FakeServer & { letters(): Letter[] }
let url: string

beforeAll(async () => {
  database = await createTestDatabase()
  post = await startFakePigeon()
  const config = loadConfig(
    {
      PORT: '0',
      DATA_DIR: createTempDirectory(),
      DATABASE_URL: database.url,
      API_TOKENS: API_TOKEN,
      LOG_LEVEL: 'silent',
      PIGEON_SECRET,
      PIGEON_TOKEN,
      PIGEON_LOFT,
      PIGEON_API_URL: post.url,
    },
    { providers: [...PROVIDERS, pigeon] },
  )
  const stop = new AbortController()
  const log = createLogger({ level: config.logLevel, process: 'test' })
  const ready = Promise.withResolvers<string>()
  const ended = runService({
    config,
    log,
    signal: stop.signal,
    parts: ['receiver', 'worker'],
    database: 'migrate',
    onReady: ({ receiver }) => ready.resolve(`http://127.0.0.1:${receiver?.port}`),
  })
  ended.catch(ready.reject)
  cleanUp(async () => {
    stop.abort()
    await ended
  })
  url = await ready.promise
})

beforeEach(() => post.reset())

const deliver = (body: string, headers = pigeonHeaders(body)) =>
  send(`${url}/webhooks/pigeon`, { method: 'POST', headers, body })
const order = async (text: string) => {
  const response = await send(`${url}/api/messages`, {
    method: 'POST',
    headers: bearerAuth(API_TOKEN),
    body: { to: '+15551230002', provider: 'pigeon', type: 'text', text },
  })
  expect(response.status).toBe(201)
  return (response.json() as { id: string }).id
}
const rowsOf = async (id: string) =>
  (
    await database.pool.query(
      `SELECT m.provider, m.direction, m.content, m.status, m.wa_message_id, c.business_number
       FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id
       WHERE m.wa_message_id = $1 OR m.id::text = $1`,
      [id],
    )
  ).rows

test('a webhook becomes a row, once, however often it is delivered', async () => {
  const id = letterId()

  const answers = [await deliver(letterBody({ id })), await deliver(letterBody({ id }))]

  expect(answers).toMatchObject([
    { status: 200, text: 'coo' },
    { status: 200, text: 'coo' },
  ])
  await eventually(async () =>
    expect(await rowsOf(id)).toEqual([
      {
        provider: 'pigeon',
        direction: 'inbound',
        content: 'hello',
        status: null,
        wa_message_id: id,
        business_number: '15550001234',
      },
    ]),
  )
})

test('a webhook that it did not sign is refused', async () => {
  const body = letterBody({ id: letterId() })

  expect(await deliver(body, pigeonHeaders(body, 'another secret'))).toMatchObject({ status: 401 })
})

test('its handshake is answered in its own way', async () => {
  expect(await send(`${url}/webhooks/pigeon?nest=ready%3F`)).toMatchObject({ status: 200, text: 'ready' })
  expect(await send(`${url}/webhooks/pigeon?nest=full`)).toMatchObject({ status: 403 })
})

test('a message of the API is one call to it, and its statuses reach the row', async () => {
  const id = await order('Coming home')

  await eventually(async () => expect(await rowsOf(id)).toMatchObject([{ status: 'accepted' }]))
  expect(post.letters()).toMatchObject([{ from: PIGEON_LOFT, to: '15551230002', text: 'Coming home' }])
  const [row] = await rowsOf(id)
  await deliver(flightBody({ id: row.wa_message_id, state: 'delivered' }))
  await eventually(async () =>
    expect(await rowsOf(id)).toMatchObject([{ status: 'delivered', business_number: PIGEON_LOFT }]),
  )
})

test('a message whose answer was lost gets its id from a status, from whichever number it went', async () => {
  post.next((_, exchange) => exchange.cut())
  const id = await order('Lost and found')
  await eventually(async () => expect(await rowsOf(id)).toMatchObject([{ status: 'unknown' }]))
  const wa_message_id = letterId()

  await deliver(
    flightBody({
      id: wa_message_id,
      state: 'sent',
      from: '15550007777',
      ref: String(post.letters()[0]?.ref),
    }),
  )

  await eventually(async () => expect(await rowsOf(id)).toMatchObject([{ status: 'sent', wa_message_id }]))
  expect(post.letters()).toHaveLength(1)
})

test('the API offers it, and says which variable a number would come from', async () => {
  const document = await send(`${url}/api/openapi.json`, { headers: bearerAuth(API_TOKEN) })

  expect(document.text).toContain('"enum":["meta","twilio","pigeon"]')
  const refused = await send(`${url}/api/messages`, {
    method: 'POST',
    headers: bearerAuth(API_TOKEN),
    body: { to: '+15551230003', provider: 'meta', type: 'text', text: 'Hello' },
  })
  expect(refused.status).toBe(422)
  expect(refused.text).toContain('set META_PHONE_NUMBER_ID, or TWILIO_FROM, or PIGEON_LOFT.')
})
