/** A provider that takes calls and does not answer: what becomes of the messages of others, and of its own. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { SLOTS } from '../../src/core/send-policy.ts'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { readOpenBreakers } from '../../src/db/outbox/circuit-breaker.ts'
import { createOutboundMessage } from '../../src/db/outbox/create.ts'
import { requestReadReceipt } from '../../src/db/outbox/read-receipts.ts'
import { BACKENDS, testOnce } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { messageItem } from '../support/facts.ts'
import type { Behaviour } from '../support/fake-server.ts'
import { orderText, outboundOptions } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'
import { storeFile } from '../support/uploads.ts'

/** A message that nothing holds up is sent within this time; a busy machine gets five times as long as promised. */
const SOON = { timeoutMs: 5_000 }

const HANG: Behaviour = () => {}

describe.each(BACKENDS)('on %s', (backend) => {
  const once = testOnce(backend)
  let sending: Sending

  beforeAll(async () => {
    sending = await startSending(backend)
  })
  beforeEach(() => sending.reset())

  const orderMany = (count: number, prefix: string, provider: 'meta' | 'twilio') =>
    Promise.all(
      Array.from({ length: count }, (_, i) =>
        orderText(sending.db, `text ${i}`, {
          provider,
          to: { phone: `${prefix}${String(i).padStart(4, '0')}` },
        }),
      ),
    )
  const count = async (status: string) =>
    (await sending.messages()).filter((row) => row.status === status).length
  /** Notifications that point at nothing: they have to be taken like any other. */
  const idleNotifications = (howMany: number) =>
    Array.from({ length: howMany }, (_, i) => String(900_000 + i))

  test('holds up no message of another provider or number, however many of its own were there first', async () => {
    sending.twilio.always(HANG)
    const hanging = await orderMany(40, '1555200', 'twilio')
    await sending.producer.notifySends([...hanging, ...idleNotifications(500)])
    sending.startWorker()
    const [first = ''] = await orderMany(1, '1555300', 'meta')
    await sending.producer.notifySends([first])
    await sending.hasStatus(first, 'accepted', SOON)

    await eventually(() => expect(sending.twilio.sent()).toHaveLength(SLOTS.sends.perSender.first))
    for (const options of [{ provider: 'meta' }, { provider: 'twilio' }] as const) {
      sending.twilio.always((call, exchange) =>
        call.body.includes('15550007777') ? exchange.succeed() : HANG(call, exchange),
      )
      const id = await orderText(
        sending.db,
        'other',
        { ...options, to: { phone: '15553000099' } },
        {
          defaultNumbers: { meta: '200', twilio: '15550007777' },
        },
      )
      await sending.producer.notifySends([id])
      await sending.hasStatus(id, 'accepted', SOON)
    }
  })

  test('makes a few of its own messages unknown; the others wait, and are sent when it answers', async () => {
    sending.twilio.always(HANG)
    const ids = await orderMany(24, '1555200', 'twilio')
    const workers = [1, 2].map(() => sending.startWorker({ callTimeoutMs: 300 }))
    await sending.producer.notifySends(ids)

    await eventually(async () =>
      expect(await readOpenBreakers(sending.db)).toMatchObject([
        { provider: 'twilio', error: { code: 'timeout' } },
      ]),
    )
    await eventually(async () => expect(await count('sending')).toBe(0))
    const unknown = await count('unknown')
    expect(unknown).toBeGreaterThanOrEqual(3)
    expect(unknown).toBeLessThanOrEqual(2 * SLOTS.sends.perSender.first)
    // Sweeps and notifications change nothing while the breaker is open.
    await sending.producer.notifySends(ids)
    await sending.database.pool.query(
      `UPDATE chat_messages SET created_at = created_at - interval '1 minute'`,
    )
    await sending.producer.notifySends(ids)
    await sending.hasStatus(await orderAndNotify('meta'), 'accepted')
    await Promise.all(workers.map((close) => close()))
    expect(await count('queued')).toBe(24 - unknown)

    sending.twilio.always((_, exchange) => exchange.succeed())
    sending.startWorker()
    await sending.database.pool.query('UPDATE send_pauses SET paused_until = clock_timestamp()')
    await eventually(async () => expect(await count('accepted')).toBe(24 - unknown + 1), {
      timeoutMs: 20_000,
    })
    expect(await readOpenBreakers(sending.db)).toEqual([])
    expect(sending.twilio.sent()).toHaveLength(24)
  })

  once('a hanging upload holds up no text of its number, nor the uploads of another', async () => {
    sending.meta.always((call, exchange) =>
      call.path.endsWith('/100/media') ? HANG(call, exchange) : exchange.succeed(),
    )
    sending.startWorker({ concurrency: 4 })
    const order = async (number: string, phone: string, uploadId?: string) => {
      const content =
        uploadId === undefined
          ? ({ type: 'text', text: 'Hello' } as const)
          : ({ type: 'document', media: { upload_id: uploadId } } as const)
      const outcome = await createOutboundMessage(
        sending.db,
        { ...content, provider: 'meta', to: { phone } },
        outboundOptions({ defaultNumbers: { meta: number } }),
      )
      if (outcome.kind !== 'created') throw new Error(outcome.kind)
      await sending.producer.notifySends([outcome.message_id])
      return outcome.message_id
    }
    for (let i = 0; i < SLOTS.copies.perSender.most + 3; i++) {
      const { id } = await storeFile(sending, `%PDF ${i}`)
      await order('100', `1555200000${i}`, id)
    }
    await eventually(() => expect(sending.meta.files()).toHaveLength(SLOTS.copies.perSender.most))

    await sending.hasStatus(await order('100', '15553000001'), 'accepted', SOON)
    const { id } = await storeFile(sending, '%PDF of the other number')
    await sending.hasStatus(await order('200', '15553000002', id), 'accepted', SOON)
    expect(sending.meta.files()).toHaveLength(SLOTS.copies.perSender.most + 1)
  })

  once('hanging read receipts hold up no message', async () => {
    sending.meta.includeReceipts()
    sending.meta.always((call, exchange) =>
      call.body.includes('"read"') ? HANG(call, exchange) : exchange.succeed(),
    )
    const received = Array.from({ length: 12 }, (_, i) =>
      messageItem(`wamid.${i}`, { contact: { phone: `1555200000${i}` } }),
    )
    await writeBatch(sending.db, received)
    const rows = await sending.db.selectFrom('chat_messages').select(['id', 'conversation_id']).execute()
    for (const { id, conversation_id: conversationId } of rows) {
      const request = { conversationId, fromMessageId: '0', upToMessageId: id, receiptProviders: ['meta'] }
      await requestReadReceipt(sending.db, request)
    }
    await sending.producer.notifyReceipts(rows.map((row) => row.conversation_id))
    sending.startWorker({ concurrency: 4 })
    await eventually(() => expect(sending.meta.read()).toHaveLength(SLOTS.receipts.perSender.most))

    await sending.hasStatus(await orderAndNotify('meta'), 'accepted', SOON)
    expect(sending.meta.read()).toHaveLength(SLOTS.receipts.perSender.most)
  })

  async function orderAndNotify(provider: 'meta' | 'twilio') {
    const id = await orderText(sending.db, 'other', { provider, to: { phone: '15553000042' } })
    await sending.producer.notifySends([id])
    return id
  }
})
