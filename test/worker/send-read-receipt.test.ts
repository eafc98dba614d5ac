import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { requestReadReceipt } from '../../src/db/outbox/read-receipts.ts'
import { BACKENDS, testOnce } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { messageItem } from '../support/facts.ts'
import { type Sending, startSending } from '../support/sending.ts'

const RECEIPT_PROVIDERS = ['meta']

describe.each(BACKENDS)('on %s', (backend) => {
  const once = testOnce(backend)
  let sending: Sending

  beforeAll(async () => {
    sending = await startSending(backend)
  })
  beforeEach(() => sending.reset())

  const receive = async (...ids: string[]) => {
    await writeBatch(
      sending.db,
      ids.map((id) => messageItem(id)),
    )
    return sending.db.selectFrom('chat_messages').selectAll().orderBy('id').execute()
  }
  const request = async (conversationId: string, messageId: string) => {
    const isNew = await requestReadReceipt(sending.db, conversationId, messageId, RECEIPT_PROVIDERS)
    await sending.producer.notifyReceipts(isNew ? [conversationId] : [])
    return isNew
  }

  test('one receipt is sent, for the newest message that was read', async () => {
    sending.startWorker()
    const rows = await receive('wamid.A', 'wamid.B', 'wamid.C')
    const [conversationId, second] = [String(rows[0]?.conversation_id), String(rows[1]?.id)]

    expect(await request(conversationId, second)).toBe(true)
    await eventually(() => expect(sending.meta.read()).toEqual(['wamid.B']))
    expect(await request(conversationId, second)).toBe(false)
    expect(await request(conversationId, String(rows[0]?.id))).toBe(false)
    expect(await request(conversationId, String(rows[2]?.id))).toBe(true)

    await eventually(() => expect(sending.meta.read()).toEqual(['wamid.B', 'wamid.C']))
    expect(sending.meta.sent()).toEqual([])
  })

  test('a receipt that failed is tried again, also without a notification', async () => {
    await sending.meta.refuse()
    sending.startWorker()
    const [row] = await receive('wamid.A')
    await request(String(row?.conversation_id), String(row?.id))
    await eventually(async () =>
      expect(await sending.db.selectFrom('read_receipts').select('attempts').execute()).toEqual([
        { attempts: 1 },
      ]),
    )
    await sending.meta.listen()

    await sending.database.pool.query("UPDATE read_receipts SET not_before = now() - interval '5 seconds'")

    await eventually(() => expect(sending.meta.read()).toEqual(['wamid.A']))
    await eventually(async () => {
      const [receipt] = await sending.db.selectFrom('read_receipts').selectAll().execute()
      expect(receipt).toMatchObject({ settled_at: expect.any(Date), error: null })
    })
  })

  once('no receipt is sent for outbound messages, for an empty conversation, or to Twilio', async () => {
    await writeBatch(sending.db, [
      messageItem('wamid.A', { direction: 'outbound', source: 'echo' }),
      messageItem(`SM${'1'.repeat(32)}`, { provider: 'twilio', business_number: '15550001234' }),
    ])
    const rows = await sending.db.selectFrom('chat_messages').selectAll().orderBy('id').execute()

    for (const row of rows)
      expect(await requestReadReceipt(sending.db, row.conversation_id, row.id, RECEIPT_PROVIDERS)).toBe(false)
    expect(await requestReadReceipt(sending.db, '999', '999', RECEIPT_PROVIDERS)).toBe(false)
  })
})
