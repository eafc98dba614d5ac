/** In-doubt sends in the provider's list: the back-fill doubles none, and gives each its entry where that is certain. */
import { beforeEach, describe, expect, test } from 'vitest'
import { createEventStore } from '../../src/db/ingest/event-store.ts'
import { createReconciliation } from '../../src/worker/reconciliation.ts'
import { backFill, deliverTwilio, twilioClient } from '../support/backfilling.ts'
import { type FakeTwilio, startFakeTwilio } from '../support/fake-twilio.ts'
import { orderText } from '../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { twilioStatus } from '../support/twilio-webhooks.ts'

let database: TestDatabase
let twilio: FakeTwilio

beforeEach(async () => {
  database = await createTestDatabase()
  twilio = await startFakeTwilio()
})

const run = (options: Parameters<typeof backFill>[2] = {}) => backFill(database, twilio, options)
const messages = async () =>
  (await database.pool.query('SELECT * FROM chat_messages ORDER BY sent_at, id')).rows

describe('outbound messages', () => {
  /** An outbound message that was claimed so long ago, in a status between the call and its result. */
  async function claimed(
    text: string,
    minutesAgo: number,
    status = 'unknown',
    request = {},
  ): Promise<string> {
    const id = await orderText(database.db, text, { provider: 'twilio', ...request })
    await database.pool.query(
      `UPDATE chat_messages SET status = $2, send_attempts = 1, sending_since = now() - $3 * interval '1 minute',
        request = request || '{"sent_to": {"phone": "15551230001"}}' WHERE id = $1`,
      [id, status, minutesAgo],
    )
    return id
  }
  const to = { to: { phone: '15551230001' } }
  const put = (body: string, minutesAgo: number, fields = {}) =>
    twilio.put({ direction: 'outbound-api', body, status: 'delivered', ...fields }, minutesAgo)

  test('with their SID: only statuses are taken from the list', async () => {
    const id = await claimed('Hello', 30, 'sending', to)
    const { sid } = put('Hello', 30)
    await database.pool.query(
      `UPDATE chat_messages SET wa_message_id = $2, status = 'accepted' WHERE id = $1`,
      [id, sid],
    )

    expect(await run()).toMatchObject({ stored: 0, statuses: 1 })

    expect(await messages()).toMatchObject([{ id, wa_message_id: sid, status: 'delivered', source: 'api' }])
  })

  test.each(['unknown', 'sending'])(
    '%s, with one entry that can be it: found, not doubled',
    async (status) => {
      const id = await claimed('Hello', 30, status, to)
      const { sid } = put('Hello', 30)

      expect(await run()).toMatchObject({ stored: 0, identified: 1, held_back: 0 })

      expect(await messages()).toMatchObject([{ id, wa_message_id: sid, status: 'delivered', source: 'api' }])
      expect(await run()).toMatchObject({ stored: 0, identified: 0, statuses: 0 })
    },
  )

  test('under way while the list has them already: not touched', async () => {
    const id = await claimed('Hello', 0, 'sending', to)
    put('Hello', 0)

    expect(await run()).toMatchObject({ examined: 0, stored: 0 })

    expect(await messages()).toMatchObject([{ id, status: 'sending', wa_message_id: null }])
  })

  test('two with the same text, two entries: held back, so that neither is doubled', async () => {
    await claimed('Hello', 30, 'unknown', to)
    await claimed('Hello', 30, 'unknown', to)
    put('Hello', 30)
    put('Hello', 30)

    expect(await run()).toMatchObject({ stored: 0, identified: 0, held_back: 2 })

    expect(await messages()).toHaveLength(2)
  })

  test('with a file or a template, which the list cannot identify: held back until a status comes', async () => {
    const id = await claimed('', 30, 'unknown', {
      ...to,
      type: 'template',
      template: { content_sid: `HX${'1'.repeat(32)}` },
    })
    const { sid } = put('Your order 17 is on its way', 30)
    expect(await run()).toMatchObject({ stored: 0, held_back: 1 })
    const { rows } = await database.pool.query('SELECT callback_id FROM chat_messages')

    await deliverTwilio(
      database,
      twilioStatus('sent', { MessageSid: sid }),
      `/webhooks/twilio?callback_id=${rows[0].callback_id}`,
    )
    expect(await run()).toMatchObject({ stored: 0, held_back: 0, statuses: 1 })

    expect(await messages()).toMatchObject([{ id, wa_message_id: sid, status: 'delivered' }])
  })

  test('with another text, recipient, number or time: the entry is not held back', async () => {
    await claimed('Hello', 30, 'unknown', to)
    put('Good morning', 30)
    put('Hello', 30, { to: 'whatsapp:+15551230002' })
    put('Hello', 30, { from: 'whatsapp:+15550009999' })
    put('Hello', 50)

    expect(await run()).toMatchObject({ stored: 4, held_back: 0 })
  })

  test('found by reconciliation before: the back-fill has nothing to do', async () => {
    const id = await claimed('Hello', 30, 'unknown', to)
    put('Hello', 30)
    const { sender } = twilioClient(twilio.url)
    const reconciliation = createReconciliation({
      db: database.db,
      store: createEventStore({ db: database.db }),
      senders: { twilio: sender },
    })
    expect(await reconciliation.runOnce(new AbortController().signal)).toBe(1)

    expect(await run()).toMatchObject({ stored: 0, identified: 0, held_back: 0, statuses: 0 })

    expect(await messages()).toMatchObject([{ id, status: 'delivered' }])
  })

  test('whose entry was stored as another message: the outbound row stays when its status comes', async () => {
    const { sid } = put('Hello', 30)
    await run()
    const id = await claimed('Hello', 30, 'unknown', to)
    const { rows } = await database.pool.query(`SELECT callback_id FROM chat_messages WHERE id = ${id}`)

    await deliverTwilio(
      database,
      twilioStatus('read', { MessageSid: sid }),
      `/webhooks/twilio?callback_id=${rows[0].callback_id}`,
    )

    expect(await messages()).toMatchObject([{ id, wa_message_id: sid, status: 'read' }])
  })
})
