import { beforeEach, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { markAsRead } from '../../../src/db/outbox/mark-read.ts'
import {
  findConversation,
  listConversations,
  UNREAD_WINDOW,
} from '../../../src/db/views/conversation-list.ts'
import { messageItem } from '../../support/facts.ts'
import { wamid } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const receiptProviders = ['meta']
let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const ADA = { phone: '15551230001', name: 'Ada Example', username: 'ada.example' }
const BEN = { phone: '15551230002', name: 'Ben 100%_sure' }

function at(second: number): Date {
  return new Date(Date.UTC(2026, 4, 1, 12, 0, second))
}

async function receive(fact: Partial<MessageFact>): Promise<void> {
  await writeBatch(database.db, [messageItem(wamid(), fact)])
}

async function all(search?: string) {
  return (await listConversations(database.db, { limit: 200, search })).items
}

describe('listConversations', () => {
  test('has the conversation with the newest message first, with its contact and that message', async () => {
    await receive({ contact: ADA, content: 'old', sent_at: at(1) })
    await receive({ contact: BEN, content: 'new', sent_at: at(2) })

    expect(await all()).toMatchObject([
      { contact: BEN, last_message: { content: 'new' }, last_message_at: at(2).toISOString() },
      { contact: { ...ADA, user_id: null, group_id: null }, last_message: { content: 'old' } },
    ])
  })

  test('shows an outbound message at once', async () => {
    const id = await orderText(database.db, 'Hi there')

    expect(await all()).toMatchObject([
      { last_message: { id, content: 'Hi there', status: 'queued', direction: 'outbound' }, unread_count: 0 },
    ])
  })

  test('pages through conversations of the same moment without missing or repeating one', async () => {
    const phones = Array.from({ length: 11 }, (_, index) => String(15550003000 + index))
    await writeBatch(
      database.db,
      phones.map((phone, index) => messageItem(wamid(), { contact: { phone }, sent_at: at(index % 2) })),
    )

    const seen: (string | null)[] = []
    let after: Parameters<typeof listConversations>[1]['after']
    do {
      const page = await listConversations(database.db, { limit: 3, after })
      seen.push(...page.items.map((item) => item.contact.phone))
      after = page.next
    } while (after !== undefined)

    expect([...seen].sort()).toEqual(phones)
  })

  test('hides merged conversations', async () => {
    await receive({ contact: { user_id: 'US.1' } })
    await receive({ contact: ADA })
    await receive({ contact: { ...ADA, user_id: 'US.1' } })

    expect(await all()).toMatchObject([{ contact: { ...ADA, user_id: 'US.1' }, unread_count: 3 }])
  })

  test('finds by part of a name, username or phone in any notation, and takes no character for a wildcard', async () => {
    await receive({ contact: ADA, sent_at: at(1) })
    await receive({ contact: BEN, sent_at: at(2) })
    const found = async (search: string) => (await all(search)).map((item) => item.contact.phone)

    expect(await found('ada')).toEqual([ADA.phone])
    expect(await found('A.EX')).toEqual([ADA.phone])
    expect(await found('+1 (555) 123-0002')).toEqual([BEN.phone])
    expect(await found('123000')).toEqual([BEN.phone, ADA.phone])
    expect(await found('100%_s')).toEqual([BEN.phone])
    expect(await found('%')).toEqual([BEN.phone])
    expect(await found('nobody')).toEqual([])
  })
})

describe('unread messages', () => {
  const unread = async () => (await all())[0]?.unread_count

  test('are the inbound ones, without history and reactions', async () => {
    const target = wamid()
    await writeBatch(database.db, [
      messageItem(target, { contact: ADA }),
      messageItem(wamid(), { contact: ADA }),
      messageItem(wamid(), { contact: ADA, direction: 'outbound', source: 'echo', status: 'sent' }),
      messageItem(wamid(), { contact: ADA, source: 'history' }),
      messageItem(wamid(), { contact: ADA, message_type: 'reaction', target_wa_message_id: target }),
    ])

    expect(await unread()).toBe(2)
  })

  test(`is counted among the newest ${UNREAD_WINDOW} messages`, async () => {
    await writeBatch(
      database.db,
      Array.from({ length: UNREAD_WINDOW + 5 }, () => messageItem(wamid(), { contact: ADA })),
    )

    expect(await unread()).toBe(UNREAD_WINDOW)
  })
})

describe('markAsRead', () => {
  async function receiveThree(): Promise<{ conversationId: string; ids: string[] }> {
    for (const second of [1, 2, 3]) await receive({ contact: ADA, sent_at: at(second) })
    const { rows } = await database.pool.query('SELECT id, conversation_id FROM chat_messages ORDER BY id')
    return { conversationId: rows[0].conversation_id, ids: rows.map((row) => row.id) }
  }
  const changes = async () => {
    const { rows } = await database.pool.query(`SELECT 1 FROM changes WHERE kind = 'conversation.read'`)
    return rows.length
  }

  test('leaves later messages unread', async () => {
    const { conversationId, ids } = await receiveThree()

    const outcome = await markAsRead(database.db, { conversationId, messageId: ids[1], receiptProviders })

    expect(outcome).toEqual({ kind: 'read', conversation_id: conversationId, needsReceipt: true })
    expect(await findConversation(database.db, conversationId)).toMatchObject({
      unread_count: 1,
      last_read_message_id: ids[1],
    })
  })

  test('marks everything as read when no message is given', async () => {
    const { conversationId, ids } = await receiveThree()

    await markAsRead(database.db, { conversationId, receiptProviders })

    expect(await all()).toMatchObject([{ unread_count: 0, last_read_message_id: ids[2] }])
  })

  test('repeated, or with an older message, it changes and announces nothing', async () => {
    const { conversationId, ids } = await receiveThree()
    await markAsRead(database.db, { conversationId, messageId: ids[2], receiptProviders })

    const outcomes = await Promise.all(
      [ids[2], ids[0], undefined].map((messageId) =>
        markAsRead(database.db, { conversationId, messageId, receiptProviders }),
      ),
    )

    expect(outcomes).toEqual(
      Array(3).fill({ kind: 'read', conversation_id: conversationId, needsReceipt: false }),
    )
    expect(await changes()).toBe(1)
    expect(await all()).toMatchObject([{ unread_count: 0, last_read_message_id: ids[2] }])
  })

  test('refuses an unknown conversation, and a message of another one', async () => {
    const { conversationId } = await receiveThree()
    await receive({ contact: BEN })
    const { rows } = await database.pool.query('SELECT max(id)::text AS id FROM chat_messages')

    expect(await markAsRead(database.db, { conversationId: '987654', receiptProviders })).toEqual({
      kind: 'conversation_not_found',
    })
    expect(
      await markAsRead(database.db, { conversationId, messageId: rows[0].id, receiptProviders }),
    ).toEqual({
      kind: 'message_not_found',
    })
  })
})
