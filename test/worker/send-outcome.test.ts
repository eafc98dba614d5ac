/** Sends whose outcome comes another way than in the response: by statuses or echoes. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { InboundJob } from '../../src/core/event.ts'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { normalize } from '../../src/providers/index.ts'
import { parseMetaWebhook } from '../../src/providers/meta/parse.ts'
import { BACKENDS } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { metaEchoOf, metaError, metaStatusOf } from '../support/fake-meta.ts'
import { holding } from '../support/fake-server.ts'
import { META_CUSTOMER_PHONE, wamid } from '../support/meta-webhooks.ts'
import { orderText } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'

const MINUTE = 60_000

// The same on every queue.
describe('a send whose outcome a webhook tells', () => {
  let sending: Sending

  beforeAll(async () => {
    sending = await startSending(BACKENDS[0])
  })
  beforeEach(() => sending.reset())

  const store = (jobs: readonly InboundJob[]) =>
    writeBatch(
      sending.db,
      jobs.map((job) => ({ ...job, fact: normalize(job.event) })),
    )
  const deliver = (body: string) => store(parseMetaWebhook(Buffer.from(body), Date.now()))
  const order = async (text = 'Hello', options: Parameters<typeof orderText>[2] = {}) => {
    const id = await orderText(sending.db, text, options)
    await sending.producer.notifySends([id])
    return id
  }
  const rows = async () =>
    (await sending.database.pool.query('SELECT id, wa_message_id, status FROM chat_messages ORDER BY id'))
      .rows

  test('statuses before the response: one row, its status is kept when the response comes', async () => {
    const held = holding()
    sending.meta.acceptAs('wamid.A')
    sending.meta.next(held.behaviour)
    sending.startWorker()
    const id = await order()
    await held.reached()
    const { callback_id } = await sending.message(id)

    await deliver(metaStatusOf('wamid.A', 'delivered', callback_id))
    await deliver(metaStatusOf('wamid.A', 'sent', callback_id))
    expect(await sending.message(id)).toMatchObject({ wa_message_id: 'wamid.A', status: 'delivered' })
    held.release()

    await eventually(() =>
      expect(sending.reports).toMatchObject([{ result: 'accepted', outcome: 'accepted' }]),
    )
    expect(await rows()).toEqual([{ id, wa_message_id: 'wamid.A', status: 'delivered' }])
  })

  test('an echo before the response: the outbound row stays, and the echo is in quarantine', async () => {
    const held = holding()
    sending.meta.acceptAs('wamid.A')
    sending.meta.next(held.behaviour)
    sending.startWorker()
    const id = await order()
    await held.reached()

    await deliver(metaEchoOf('wamid.A', META_CUSTOMER_PHONE, 'Hello'))
    expect(await rows()).toHaveLength(2)
    held.release()

    await sending.hasStatus(id, 'sent')
    expect(await rows()).toEqual([{ id, wa_message_id: 'wamid.A', status: 'sent' }])
    const quarantined = await sending.db.selectFrom('chat_messages_duplicates').select('kept_id').execute()
    expect(quarantined).toEqual([{ kept_id: id }])
  })

  test('an echo and statuses of a send whose response was lost: no longer in doubt, and never sent again', async () => {
    sending.meta.acceptAs('wamid.A')
    sending.meta.next((_, exchange) => exchange.cut())
    sending.startWorker()
    const id = await order()
    const { callback_id } = await sending.hasStatus(id, 'unknown')

    await deliver(metaEchoOf('wamid.A', META_CUSTOMER_PHONE, 'Hello'))
    await deliver(metaStatusOf('wamid.A', 'read', callback_id))

    expect(await rows()).toEqual([{ id, wa_message_id: 'wamid.A', status: 'read' }])
    expect((await sending.message(id)).error).toBeNull()
    expect(sending.meta.sent()).toHaveLength(1)
  })

  test('a status for a message that Meta said it had not sent: it is not sent a second time', async () => {
    sending.meta.next(metaError(131056))
    sending.startWorker({ sweeps: false })
    const id = await order()
    await eventually(async () => expect((await sending.message(id)).error?.[0]?.code).toBe(131056))
    const { callback_id } = await sending.message(id)

    await deliver(metaStatusOf('wamid.A', 'delivered', callback_id))
    await sending.database.pool.query('UPDATE chat_messages SET not_before = NULL')
    await sending.producer.notifySends([id])
    await sending.hasStatus(await order('next'), 'accepted')

    expect(await sending.message(id)).toMatchObject({ wa_message_id: 'wamid.A', status: 'delivered' })
    expect(sending.meta.sent()).toHaveLength(2)
  })

  test('the same id for two messages: the first has it, the second is unknown', async () => {
    const id = wamid()
    sending.meta.acceptAs(id)
    sending.meta.acceptAs(id)
    sending.startWorker()
    const first = await order('one')
    const second = await order('two')

    await sending.hasStatus(first, 'accepted')
    expect((await sending.hasStatus(second, 'unknown')).error?.[0]?.code).toBe('wa_message_id_taken')
    expect(await rows()).toMatchObject([{ wa_message_id: id }, { wa_message_id: null }])
    expect(sending.meta.sent()).toHaveLength(2)
  })

  test('a claim whose worker died: unknown after a minute, and later statuses still count', async () => {
    const held = holding()
    sending.meta.acceptAs('wamid.A')
    sending.meta.next(held.behaviour)
    sending.startWorker()
    const id = await order()
    await held.reached()

    await sending.age(id, MINUTE)
    expect((await sending.hasStatus(id, 'unknown')).error?.[0]?.code).toBe('lost')
    held.release()

    await sending.hasStatus(id, 'accepted')
    expect(sending.meta.sent()).toHaveLength(1)
  })

  test('"not sent" for a claim that the sweep made unknown: failed, not queued, because a person may have resent it', async () => {
    const held = holding(metaError(131056))
    sending.meta.next(held.behaviour)
    sending.startWorker()
    const id = await order()
    await held.reached()
    await sending.age(id, MINUTE)
    await sending.hasStatus(id, 'unknown')

    held.release()

    expect((await sending.hasStatus(id, 'failed')).error?.[0]?.code).toBe(131056)
    await sending.hasStatus(await order('next'), 'accepted')
    expect(sending.meta.sent()).toHaveLength(2)
  })
})
