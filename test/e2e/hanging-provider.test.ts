/**
 * A provider that accepts connections and never answers, with real processes: the other provider's messages do not wait, few of
 * its own become `unknown`, and the others are sent when it answers again.
 */
import { describe, expect, test } from 'vitest'
import { SLOTS } from '../../src/core/send-policy.ts'
import { BACKENDS } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { startFakeMeta } from '../support/fake-meta.ts'
import { startFakeTwilio, TWILIO_SENDING_ACCOUNT } from '../support/fake-twilio.ts'
import { bearerAuth, send } from '../support/http.ts'
import { META_PHONE_NUMBER_ID } from '../support/meta-webhooks.ts'
import { startService } from '../support/service.ts'

const API_TOKEN = 'test-api-token'
const WORKERS = 2
const MESSAGES = 30
/** A busy machine gets five times as long as is promised. */
const SOON = { timeoutMs: 5_000 }
/** A call is given up after 15 s. */
const AFTER_TIMEOUTS = { timeoutMs: 40_000 }

// Both queues: test/worker/hanging-provider.test.ts.
describe.each(BACKENDS.slice(0, 1))('on %s', (backend) => {
  test('a provider that hangs delays no other, and its own messages wait', { timeout: 120_000 }, async () => {
    const [meta, twilio] = await Promise.all([startFakeMeta(), startFakeTwilio()])
    const service = await startService({
      backend,
      workers: WORKERS,
      env: {
        API_TOKENS: API_TOKEN,
        META_ACCESS_TOKEN: 'test-access-token',
        META_PHONE_NUMBER_ID,
        META_GRAPH_URL: meta.graphUrl,
        TWILIO_ACCOUNT_SID: TWILIO_SENDING_ACCOUNT,
        TWILIO_FROM: '+15550001234',
        TWILIO_API_URL: twilio.url,
      },
    })
    const order = async (provider: string, to: string) => {
      const response = await send(`${service.url}/api/messages`, {
        method: 'POST',
        headers: bearerAuth(API_TOKEN),
        body: { provider, to, type: 'text', text: 'Hello' },
      })
      expect(response.status).toBe(201)
      return (response.json() as { id: string }).id
    }
    const counts = async (provider: string) => {
      const { rows } = await service.database.pool.query<{ status: string; count: number }>(
        'SELECT status, count(*)::integer AS count FROM chat_messages WHERE provider = $1 GROUP BY status',
        [provider],
      )
      return { unknown: 0, ...Object.fromEntries(rows.map(({ status, count }) => [status, count])) }
    }
    const pauses = async () =>
      (await service.database.pool.query('SELECT provider, error FROM send_pauses')).rows
    twilio.always(() => {})
    for (let i = 0; i < MESSAGES; i++) await order('twilio', `+155522200${String(i).padStart(2, '0')}`)
    await eventually(() => expect(twilio.sent().length).toBeGreaterThanOrEqual(SLOTS.sends.perSender.first))

    await order('meta', '+15551230001')
    await eventually(async () => expect(await counts('meta')).toEqual({ unknown: 0, accepted: 1 }), SOON)
    await eventually(
      async () => expect(await pauses()).toMatchObject([{ provider: 'twilio', error: { code: 'timeout' } }]),
      AFTER_TIMEOUTS,
    )
    await eventually(async () => expect(await counts('twilio')).not.toHaveProperty('sending'))
    const { unknown } = await counts('twilio')
    expect(unknown).toBeLessThanOrEqual(WORKERS * SLOTS.sends.perSender.first)
    expect(await counts('twilio')).toEqual({ unknown, queued: MESSAGES - unknown })

    twilio.always((_, exchange) => exchange.succeed())
    await service.database.pool.query('UPDATE send_pauses SET paused_until = clock_timestamp()')
    await eventually(
      async () => expect(await counts('twilio')).toEqual({ unknown, accepted: MESSAGES - unknown }),
      AFTER_TIMEOUTS,
    )
    expect(await pauses()).toEqual([])
    expect(twilio.sent()).toHaveLength(MESSAGES)
  })
})
