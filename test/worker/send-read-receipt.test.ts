import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { markAsRead } from '../../src/db/outbox/mark-read.ts'
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
    const isNew = await isRequested(conversationId, messageId)
    await sending.producer.notifyReceipts(isNew ? [conversationId] : [])
    return isNew
  }
  const isRequested = (conversationId: string, upToMessageId: string) =>
    requestReadReceipt(sending.db, {
      conversationId,
      fromMessageId: '0',
      upToMessageId,
      receiptProviders: RECEIPT_PROVIDERS,
    })
  const markRead = async (conversationId: string, messageId?: string) => {
    const outcome = await markAsRead(sending.db, {
      conversationId,
      messageId,
      receiptProviders: RECEIPT_PROVIDERS,
    })
    const isWaiting = outcome.kind === 'read' && outcome.needsReceipt
    await sending.producer.notifyReceipts(isWaiting ? [conversationId] : [])
  }
  const receiveInGroup = async (...facts: Parameters<typeof messageItem>[]) => {
    const group = { contact: { group_id: 'group1' }, sender: { phone: '15550001234' } }
    await writeBatch(
      sending.db,
      facts.map(([id, fact]) => messageItem(id, { ...group, ...fact })),
    )
    await sending.database.pool.query('UPDATE chat_messages SET received_at = now()')
    return sending.db.selectFrom('chat_messages').selectAll().orderBy('id').execute()
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

    for (const row of rows) expect(await isRequested(row.conversation_id, row.id)).toBe(false)
    expect(await isRequested('999', '999')).toBe(false)
  })

  once('no receipt is sent for a reaction, an edit, a revocation or a notice', async () => {
    sending.startWorker()
    await writeBatch(sending.db, [
      messageItem('wamid.A'),
      messageItem('wamid.B', { message_type: 'reaction', target_wa_message_id: 'wamid.OURS' }),
      messageItem('wamid.C', { message_type: 'edit', target_wa_message_id: 'wamid.A' }),
      messageItem('wamid.D', { message_type: 'revoke', target_wa_message_id: 'wamid.A' }),
      messageItem('wamid.E', { message_type: 'system' }),
    ])
    const [row] = await sending.db.selectFrom('conversations').select('id').execute()

    await markRead(String(row?.id))

    await eventually(() => expect(sending.meta.read()).toEqual(['wamid.A']))
    await eventually(async () => expect(await openReceipts()).toEqual([]))
    expect(sending.meta.read()).toEqual(['wamid.A'])
  })

  once('in a group each message that was read has a receipt of its own, and none twice', async () => {
    sending.startWorker()
    const rows = await receiveInGroup(
      ['wamid.G1'],
      ['wamid.G2'],
      ['wamid.G2R', { message_type: 'reaction', target_wa_message_id: 'wamid.G1' }],
      ['wamid.G3'],
      ['wamid.G4'],
    )
    expect(rows.map((row) => row.wa_message_id)[3]).toBe('wamid.G3')
    const conversationId = String(rows[0]?.conversation_id)

    await markRead(conversationId, String(rows[3]?.id))
    await eventually(() => expect(sending.meta.read()).toEqual(['wamid.G1', 'wamid.G2', 'wamid.G3']))
    await eventually(async () => expect(await openReceipts()).toEqual([]))
    await markRead(conversationId, String(rows[1]?.id))
    await markRead(conversationId)

    await eventually(() =>
      expect(sending.meta.read()).toEqual(['wamid.G1', 'wamid.G2', 'wamid.G3', 'wamid.G4']),
    )
  })

  once('in a group, what is read while receipts are sent has its receipts too', async () => {
    const rows = await receiveInGroup(['wamid.G1'], ['wamid.G2'], ['wamid.G3'], ['wamid.G4'])
    const conversationId = String(rows[0]?.conversation_id)
    await markRead(conversationId, String(rows[1]?.id))
    await markRead(conversationId)

    sending.startWorker()

    await eventually(() =>
      expect(sending.meta.read()).toEqual(['wamid.G1', 'wamid.G2', 'wamid.G3', 'wamid.G4']),
    )
  })

  const openReceipts = () =>
    sending.db.selectFrom('read_receipts').select('message_id').where('settled_at', 'is', null).execute()
})
