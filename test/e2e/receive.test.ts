/** The promises of receiver and worker together, with real processes on both queue backends. */
import { getPriority } from 'node:os'
import { beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http.ts'
import {
  metaChange,
  metaMessage,
  metaMessagesWebhook,
  metaStatus,
  metaStatusWebhook,
  metaTextWebhook,
  metaWebhook,
  sign,
  wamid,
} from '../support/meta-webhooks.ts'
import { hasRedis } from '../support/redis.ts'
import { startService, type TestService } from '../support/service.ts'

describe.skipIf(!hasRedis)('with the queue on Redis', () => describeReceiving('redis'))
describe('with the queue on PostgreSQL', () => describeReceiving('postgres'))

function describeReceiving(backend: 'redis' | 'postgres'): void {
  let service: TestService

  beforeAll(async () => {
    service = await startService({ backend, workers: 2 })
  })

  const rowsOf = async (...ids: string[]) => {
    const { rows } = await service.database.pool.query(
      'SELECT wa_message_id, content, status FROM chat_messages WHERE wa_message_id = ANY($1)',
      [ids],
    )
    return rows
  }
  const isStored = (...ids: string[]) =>
    eventually(async () => expect(await rowsOf(...ids)).toHaveLength(new Set(ids).size))

  test('when the processors are busy, the receiver has priority', () => {
    const priorities = service.workers.map(({ pid }) => getPriority(pid))

    expect(Math.min(...priorities)).toBeGreaterThan(getPriority(service.api.pid))
  })

  test('the same webhook 50 times at once is one row', async () => {
    const id = wamid()
    const body = metaTextWebhook({ id, text: 'once' })

    const responses = await Promise.all(Array.from({ length: 50 }, () => service.deliver(body)))

    expect(responses.map((response) => response.status)).toEqual(Array(50).fill(200))
    await isStored(id)
    expect(await rowsOf(id)).toMatchObject([{ content: 'once' }])
  })

  test('a batch of 1,000 updates in one POST is 1,000 rows', async () => {
    const messages = Array.from({ length: 1_000 }, () => metaMessage())

    const response = await service.deliver(JSON.stringify(metaMessagesWebhook(messages)))

    expect(response.status).toBe(200)
    await isStored(...messages.map((message) => String(message.id)))
  })

  test('every entry, change and item of a batch is stored', async () => {
    const [a, b, c] = [metaMessage(), metaMessage(), metaMessage()]
    const status = metaStatus({ id: wamid(), status: 'read' })
    const body = {
      object: 'whatsapp_business_account',
      entry: [
        {
          id: '1',
          changes: [metaChange({ messages: [a] }), metaChange({ messages: [b], statuses: [status] })],
        },
        { id: '2', changes: [metaChange({ messages: [c] })] },
      ],
    }

    await service.deliver(JSON.stringify(body))

    await isStored(String(a.id), String(b.id), String(c.id))
    await eventually(async () => {
      const { rows } = await service.database.pool.query(
        'SELECT status FROM message_statuses WHERE wa_message_id = $1',
        [status.id],
      )
      expect(rows).toEqual([{ status: 'read' }])
    })
  })

  test('unknown types and fields are stored', async () => {
    const message = metaMessage({ type: 'hologram', hologram: { depth: 3 } })
    const field = metaChange({ mood: 'sunny' }, 'weather_update')

    const response = await service.deliver(
      JSON.stringify(metaWebhook([metaChange({ messages: [message] }), field])),
    )

    expect(response.status).toBe(200)
    await isStored(String(message.id))
    await eventually(async () => {
      const { rows } = await service.database.pool.query(
        `SELECT payload FROM webhook_events WHERE field = 'weather_update'`,
      )
      expect(rows).toHaveLength(1)
      expect(JSON.stringify(rows[0])).toContain('sunny')
    })
  })

  test('a body of 3 MB is stored whole', async () => {
    const id = wamid()
    const text = 'é'.repeat(1_500_000)

    expect((await service.deliver(metaTextWebhook({ id, text }))).status).toBe(200)

    await isStored(id)
    expect((await rowsOf(id))[0].content).toBe(text)
  })

  test('a body over 4 MB is refused', async () => {
    const response = await service.deliver(metaTextWebhook({ id: wamid(), text: 'x'.repeat(4_300_000) }))

    expect(response.status).toBe(413)
  })

  test.each([
    ['missing', () => ({})],
    ['short', (body: string) => ({ 'x-hub-signature-256': sign(body).slice(0, 40) })],
    ['upper case', (body: string) => ({ 'x-hub-signature-256': sign(body).toUpperCase() })],
    ['of another secret', (body: string) => ({ 'x-hub-signature-256': sign(body, 'another-secret') })],
    [
      'of a re-serialised body',
      (body: string) => ({ 'x-hub-signature-256': sign(JSON.stringify(JSON.parse(body), null, 1)) }),
    ],
  ])('a signature that is %s is 401, stores nothing and shows no digest', async (_what, headers) => {
    const id = wamid()
    const body = metaTextWebhook({ id, text: 'forged' })

    const response = await send(`${service.url}/webhooks/meta`, {
      method: 'POST',
      headers: headers(body),
      body,
    })

    expect(response.status).toBe(401)
    expect(response.text + JSON.stringify(response.headers)).not.toContain(sign(body).slice(7, 20))
    const after = wamid()
    await service.deliver(metaTextWebhook({ id: after }))
    await isStored(after)
    expect(await rowsOf(id)).toEqual([])
  })

  test('a body with escaped non-ASCII text and slashes, as Meta sends it, is authentic', async () => {
    const id = wamid()
    const body = metaTextWebhook({ id, text: 'TEXT' }).replace(
      'TEXT',
      'caf\\u00e9 \\ud83d\\ude00 https:\\/\\/a.test',
    )

    expect((await service.deliver(body)).status).toBe(200)

    await isStored(id)
    expect((await rowsOf(id))[0].content).toBe('café 😀 https://a.test')
  })

  test('U+0000, lone surrogates and numbers beyond 2^53 are stored', async () => {
    const id = wamid()
    const body = metaTextWebhook({ id, text: 'TEXT' })
      .replace('TEXT', 'a\\u0000b\\ud800c')
      .replace('"type":"text"', '"type":"text","big":12345678901234567890')

    expect((await service.deliver(body)).status).toBe(200)

    await isStored(id)
    const { rows } = await service.database.pool.query(
      `SELECT payload->>'big' AS big, convert_from(raw, 'UTF8') AS raw FROM chat_messages WHERE wa_message_id = $1`,
      [id],
    )
    expect(rows[0].big).toBe('12345678901234567890')
    expect(rows[0].raw).toContain('a\\u0000b\\ud800c')
  })

  test.each(['', 'not json', '[]', '{}', '{"entry":[null,7]}', '\u0000'])(
    'the signed but unreadable body %j is answered 200 and kept raw',
    async (text) => {
      const before = await service.count('webhook_events')

      const response = await service.deliver(text)

      expect(response.status).toBe(200)
      if (text !== '')
        await eventually(async () => expect(await service.count('webhook_events')).toBeGreaterThan(before))
    },
  )

  test('the handshake answers the raw challenge to the right token only', async () => {
    const ask = (token: string) =>
      send(`${service.url}/webhooks/meta?hub.mode=subscribe&hub.challenge=115820&hub.verify_token=${token}`)

    expect(await ask('test-verify-token')).toMatchObject({ status: 200, text: '115820' })
    expect((await ask('wrong')).status).toBe(403)
  })

  test('a status that arrives before its message is applied when the message arrives', async () => {
    const id = wamid()
    await service.deliver(metaStatusWebhook({ id, status: 'read' }))
    await eventually(async () => {
      const { rows } = await service.database.pool.query(
        'SELECT 1 FROM message_statuses WHERE wa_message_id = $1',
        [id],
      )
      expect(rows).toHaveLength(1)
    })

    await service.deliver(
      JSON.stringify(
        metaWebhook([
          metaChange(
            { message_echoes: [{ ...metaMessage({ id }), from: '15550009999', to: '15551230001' }] },
            'smb_message_echoes',
          ),
        ]),
      ),
    )

    await eventually(async () => expect(await rowsOf(id)).toMatchObject([{ status: 'read' }]))
  })
}
