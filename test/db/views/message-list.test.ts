import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import type { MessageView } from '../../../src/db/views/message.ts'
import { findMessage, findMessageWithHistory, listMessages } from '../../../src/db/views/message-list.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { wamid } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let lastPhone = 15550002000

beforeAll(async () => {
  database = await createTestDatabase()
})

/** A person of this test alone. */
function someone() {
  lastPhone++
  return { phone: String(lastPhone) }
}

function at(second: number): Date {
  return new Date(Date.UTC(2026, 4, 1, 12, 0, second))
}

async function conversationOf({ phone }: { phone: string }): Promise<string> {
  const { rows } = await database.pool.query(
    `SELECT v.id FROM conversations v JOIN contacts c ON c.id = v.contact_id WHERE c.phone = $1 AND v.merged_into IS NULL`,
    [phone],
  )
  return rows[0].id
}

async function messagesWith(contact: { phone: string }): Promise<MessageView[]> {
  const page = await listMessages(database.db, { conversationId: await conversationOf(contact), limit: 200 })
  return page?.items ?? []
}

describe('listMessages', () => {
  test("is in the order of the provider's time, whatever the order of arrival", async () => {
    const contact = someone()
    for (const second of [2, 3, 1])
      await writeBatch(database.db, [
        messageItem(wamid(), { contact, content: String(second), sent_at: at(second) }),
      ])

    expect((await messagesWith(contact)).map((message) => message.content)).toEqual(['3', '2', '1'])
  })

  test('pages through messages of the same second without missing or repeating one', async () => {
    const contact = someone()
    const items = Array.from({ length: 23 }, (_, index) =>
      messageItem(wamid(), { contact, content: String(index), sent_at: at(Math.floor(index / 5)) }),
    )
    await writeBatch(database.db, items)
    const conversationId = await conversationOf(contact)

    const seen: (string | null)[] = []
    let after: Parameters<typeof listMessages>[1]['after']
    do {
      const page = await listMessages(database.db, { conversationId, limit: 4, after })
      seen.push(...(page?.items.map((message) => message.content) ?? []))
      after = page?.next
    } while (after !== undefined)

    expect(seen).toHaveLength(23)
    expect(seen).toEqual((await messagesWith(contact)).map((message) => message.content))
    expect([...seen].sort()).toEqual(items.map((_, index) => String(index)).sort())
  })

  test('has the id of the answered message, and null when that one is not stored', async () => {
    const contact = someone()
    const question = wamid()
    await writeBatch(database.db, [
      messageItem(question, { contact, sent_at: at(1) }),
      messageItem(wamid(), { contact, reply_to_wa_message_id: question, sent_at: at(2) }),
      messageItem(wamid(), { contact, reply_to_wa_message_id: wamid(), sent_at: at(3) }),
    ])

    const [unknown, answer, asked] = await messagesWith(contact)

    expect([unknown?.reply_to, answer?.reply_to, asked?.reply_to]).toEqual([null, asked?.id, null])
  })

  test('shows the sender in a group', async () => {
    const group = { group_id: `group-${wamid()}` }
    const sender = { ...someone(), name: 'Grace Example' }
    await writeBatch(database.db, [messageItem(wamid(), { contact: group, sender })])

    const { rows } = await database.pool.query('SELECT max(conversation_id)::text AS id FROM chat_messages')
    const page = await listMessages(database.db, { conversationId: rows[0].id, limit: 1 })

    expect(page?.items[0]).toMatchObject({
      contact: { group_id: group.group_id, phone: null },
      sender: { phone: sender.phone, name: 'Grace Example' },
    })
  })

  test('follows a merged conversation to its survivor', async () => {
    const contact = someone()
    const user_id = `US.${contact.phone}`
    await writeBatch(database.db, [
      messageItem(wamid(), { contact: { user_id }, content: 'by user id', sent_at: at(1) }),
    ])
    const { rows } = await database.pool.query('SELECT max(id)::text AS id FROM conversations')
    await writeBatch(database.db, [messageItem(wamid(), { contact, content: 'by phone', sent_at: at(2) })])
    await writeBatch(database.db, [
      messageItem(wamid(), { contact: { ...contact, user_id }, content: 'both', sent_at: at(3) }),
    ])
    const { rows: both } = await database.pool.query('SELECT max(id)::text AS id FROM conversations')

    const pages = await Promise.all(
      [rows[0].id, both[0].id].map((conversationId) =>
        listMessages(database.db, { conversationId, limit: 10 }),
      ),
    )

    expect(pages[0]?.items.map((message) => message.content)).toEqual(['both', 'by phone', 'by user id'])
    expect(pages[1]).toEqual(pages[0])
    expect(pages[0]?.items[0]?.contact).toMatchObject({ phone: contact.phone, user_id })
  })

  test('is undefined when there is no such conversation', async () => {
    expect(await listMessages(database.db, { conversationId: '999999999', limit: 1 })).toBeUndefined()
  })
})

describe('reactions, edits and revokes', () => {
  const effect = (target: string, contact: { phone: string }, fact: Partial<MessageFact>): StoreItem =>
    messageItem(wamid(), { contact, target_wa_message_id: target, ...fact })

  test('are shown on their target and are no messages of their own', async () => {
    const contact = someone()
    const target = wamid()
    await writeBatch(database.db, [
      messageItem(target, { contact, content: 'first', sent_at: at(1) }),
      effect(target, contact, { message_type: 'reaction', content: '👍', sent_at: at(2) }),
      effect(target, contact, { message_type: 'edit', content: 'second', sent_at: at(3) }),
    ])

    const messages = await messagesWith(contact)

    expect(messages).toMatchObject([
      {
        content: 'second',
        edited_at: at(3).toISOString(),
        reactions: [{ emoji: '👍', direction: 'inbound', reacted_at: at(2).toISOString() }],
      },
    ])
  })

  test('an edit without content from Meta marks its target, and is also an item', async () => {
    const contact = someone()
    const target = wamid()
    const unsupported = (type: string, sent_at: Date) =>
      messageItem(
        wamid(),
        { contact, target_wa_message_id: target, message_type: 'unsupported', content: 'Unknown', sent_at },
        { payload: JSON.stringify({ type: 'unsupported', unsupported: { type } }) },
      )
    await writeBatch(database.db, [
      messageItem(target, { contact, content: 'first', sent_at: at(1) }),
      effect(target, contact, { message_type: 'edit', content: 'second', sent_at: at(2) }),
      unsupported('edit', at(3)),
      unsupported('pin', at(4)),
    ])

    expect(await messagesWith(contact)).toMatchObject([
      { content: 'Unknown', message_type: 'unsupported' },
      { content: 'Unknown', message_type: 'unsupported' },
      { content: 'second', edited_at: at(3).toISOString() },
    ])
  })

  test('a revoked message has no content and no media', async () => {
    const contact = someone()
    const target = wamid()
    await writeBatch(database.db, [
      messageItem(target, {
        contact,
        message_type: 'image',
        content: 'caption',
        media: [{ id: '1' }],
        sent_at: at(1),
      }),
      effect(target, contact, { message_type: 'revoke', sent_at: at(2) }),
    ])

    expect(await messagesWith(contact)).toMatchObject([
      { message_type: 'image', content: null, media: [], revoked_at: at(2).toISOString() },
    ])
  })

  test('one whose target is not stored is an item, until the target is stored', async () => {
    const contact = someone()
    const target = wamid()
    await writeBatch(database.db, [effect(target, contact, { message_type: 'reaction', content: '👍' })])
    const before = await messagesWith(contact)

    await writeBatch(database.db, [messageItem(target, { contact })])

    expect(before).toMatchObject([{ message_type: 'reaction', target: null }])
    expect(await messagesWith(contact)).toMatchObject([
      { message_type: 'text', reactions: [{ emoji: '👍' }] },
    ])
  })

  test('an outbound reaction whose sending failed has no effect and is an item', async () => {
    const contact = someone()
    const target = wamid()
    await writeBatch(database.db, [
      messageItem(target, { contact, sent_at: at(1) }),
      effect(target, contact, {
        message_type: 'reaction',
        content: '👎',
        direction: 'outbound',
        status: 'failed',
        sent_at: at(2),
      }),
    ])

    const [reaction, message] = await messagesWith(contact)

    expect(reaction).toMatchObject({ message_type: 'reaction', status: 'failed', target: message?.id })
    expect(message?.reactions).toEqual([])
  })

  test('end the same whatever the order in which they arrive', async () => {
    const us = { direction: 'outbound' as const, status: 'sent' }
    const effects: Partial<MessageFact>[] = [
      { message_type: 'reaction', content: '👍', sent_at: at(2) },
      { message_type: 'reaction', content: '', sent_at: at(3) },
      { message_type: 'reaction', content: '🎉', sent_at: at(4) },
      { message_type: 'reaction', content: '🙂', sent_at: at(2), ...us },
      { message_type: 'reaction', content: '', sent_at: at(5), ...us },
      { message_type: 'edit', content: 'second', sent_at: at(2) },
      { message_type: 'edit', content: 'third', sent_at: at(6) },
    ]
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(
          [0, ...effects.keys()].map((_, index) => index),
          { minLength: effects.length + 1 },
        ),
        fc.integer({ min: 1, max: 4 }),
        async (order, batchSize) => {
          const contact = someone()
          const target = wamid()
          const items = [
            messageItem(target, { contact, content: 'first', sent_at: at(1) }),
            ...effects.map((fact) => effect(target, contact, fact)),
          ]
          for (let from = 0; from < order.length; from += batchSize)
            await writeBatch(
              database.db,
              order.slice(from, from + batchSize).map((index) => items[index]!),
            )

          const messages = await messagesWith(contact)

          expect(messages).toMatchObject([{ content: 'third', edited_at: at(6).toISOString() }])
          expect(messages[0]?.reactions).toMatchObject([{ emoji: '🎉', direction: 'inbound' }])
          expect(messages[0]?.reactions).toHaveLength(1)
        },
      ),
      { numRuns: 20 },
    )
  })
})

describe('a message with its history', () => {
  test('lists its statuses in the order in which they occurred', async () => {
    const contact = someone()
    const id = wamid()
    await writeBatch(database.db, [
      messageItem(id, { contact, direction: 'outbound', status: 'sent', source: 'echo' }),
      statusItem(id, 'read', { occurred_at: at(3) }),
      statusItem(id, 'sent', { occurred_at: at(1) }),
      statusItem(id, 'delivered', { occurred_at: at(2), errors: '[{"code":1}]' }),
    ])
    const [message] = await messagesWith(contact)

    const found = await findMessageWithHistory(database.db, message?.id ?? '')

    expect(found).toMatchObject({
      status: 'read',
      statuses: [
        { status: 'sent', occurred_at: at(1).toISOString(), participant: '', errors: null },
        { status: 'delivered', errors: [{ code: 1 }] },
        { status: 'read' },
      ],
    })
  })

  test("has the provider's object unchanged, with large numbers and characters that jsonb refuses", async () => {
    const contact = someone()
    const payload = '{"id":"x","big":12345678901234567890,"text":"a\\u0000b"}'
    await writeBatch(database.db, [messageItem(wamid(), { contact }, { payload })])
    const [message] = await messagesWith(contact)

    const found = await findMessageWithHistory(database.db, message?.id ?? '')

    expect(JSON.stringify(found?.payload)).toBe(payload)
  })
})

test('a merged message stands for the one that stays', async () => {
  const id = await orderText(database.db)
  await database.pool.query(
    `INSERT INTO chat_messages_duplicates (run_id, original_id, kept_id, wa_message_id, reason, "row")
     VALUES (gen_random_uuid(), '987654321', $1, 'wamid.x', 'test', '{}')`,
    [id],
  )

  expect((await findMessage(database.db, '987654321'))?.id).toBe(id)
  expect(await findMessage(database.db, '987654322')).toBeUndefined()
})
