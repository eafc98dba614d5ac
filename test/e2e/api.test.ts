/** The API with real processes. */
import { expect, test } from 'vitest'
import { openEventStream } from '../support/event-stream.ts'
import { eventually } from '../support/eventually.ts'
import { bearerAuth, send } from '../support/http.ts'
import {
  META_CUSTOMER_PHONE,
  META_PHONE_NUMBER_ID,
  metaTextWebhook,
  wamid,
} from '../support/meta-webhooks.ts'
import { hasRedis } from '../support/redis.ts'
import { startService } from '../support/service.ts'

const TOKEN = 'token-of-the-tests'
const headers = bearerAuth(TOKEN)
const env = { API_TOKENS: TOKEN, META_PHONE_NUMBER_ID, META_ACCESS_TOKEN: 'test-access-token' }

test('an inbound message appears in the list and in an open stream', async () => {
  const service = await startService({ backend: 'postgres', env })
  const stream = await openEventStream(`${service.url}/api/stream?after=now`, headers)
  const id = wamid()

  await service.deliver(metaTextWebhook({ id, text: 'Hello there' }))

  const message = { wa_message_id: id, content: 'Hello there', contact: { phone: META_CUSTOMER_PHONE } }
  expect(await stream.waitForChanges(1)).toMatchObject([{ kind: 'message.created', message }])
  const list = await send(`${service.url}/api/conversations`, { headers })
  expect(list.json()).toMatchObject({ items: [{ unread_count: 1, last_message: message }] })
})

test('open streams do not delay the end of the process', async () => {
  const service = await startService({ backend: 'postgres', workers: 0, env })
  const streams = await Promise.all(
    Array.from({ length: 20 }, () => openEventStream(`${service.url}/api/stream`, headers)),
  )

  const startedAt = performance.now()
  const end = await service.api.stop()

  expect(end).toEqual({ code: 0, signal: null })
  // For a request that does not end, the HTTP server would wait 3.5 s.
  expect(performance.now() - startedAt).toBeLessThan(3_000)
  await eventually(() => expect(streams.every((stream) => stream.hasEnded)).toBe(true))
  expect(service.api.output).not.toMatch(/"level":"(?:error|fatal)"/)
})

test.skipIf(!hasRedis)('a message is accepted while the queue is away, once for its key', async () => {
  const service = await startService({ backend: 'redis', workers: 0, env })
  await service.redisProxy?.takeDown()
  const order = () =>
    send(`${service.url}/api/messages`, {
      method: 'POST',
      headers: { ...headers, 'idempotency-key': 'while-away' },
      body: { to: '+15551230001', type: 'text', text: 'hello' },
    })

  const responses = [await order(), await order()]

  expect(responses.map((response) => response.status)).toEqual([201, 200])
  expect(responses[1]?.json()).toMatchObject({ status: 'queued', client_message_id: 'while-away' })
  expect(await service.count('chat_messages')).toBe(1)
})
