/** What becomes of a message that is stored already, also while another writer works on its row. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { createEventStore } from '../../../src/db/ingest/event-store.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { messageItem } from '../../support/facts.ts'
import { holdLock, withoutIndexes } from '../../support/held-lock.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

let count = 0
const nextId = () => {
  count += 1
  return `wamid.${String(count).padStart(4, '0')}`
}
const write = (...items: StoreItem[]) => writeBatch(database.db, items)
const stored = (id: string) =>
  database.db
    .selectFrom('chat_messages')
    .selectAll()
    .where('wa_message_id', '=', id)
    .executeTakeFirstOrThrow()
const ofHistory = (id: string, fact: Partial<MessageFact> = {}) =>
  messageItem(id, { source: 'history', ...fact })
const holdRow = (id: string) =>
  holdLock(database, `SELECT FROM chat_messages WHERE wa_message_id = '${id}' FOR UPDATE`)

describe('a message that meets its row', () => {
  test('is stored although the row is deleted before the two can be compared', async () => {
    const id = nextId()
    await write(messageItem(id, { content: 'the first' }))
    const store = createEventStore({ db: database.db })
    const lock = await holdRow(id)
    const written = store.store(messageItem(id, { content: 'the second' }))
    await lock.reached()

    await lock.run(`DELETE FROM chat_messages WHERE wa_message_id = '${id}'`)
    await lock.release()

    expect(await written).toEqual({ outcome: 'stored' })
    expect(await stored(id)).toMatchObject({ content: 'the second' })
  })

  test('is compared with what another writer has made of the row by then', async () => {
    const id = nextId()
    await write(ofHistory(id, { is_placeholder: true, content: 'placeholder' }))
    const lock = await holdRow(id)
    const written = write(ofHistory(id, { content: 'history' }))
    await lock.reached()

    await lock.run(
      `UPDATE chat_messages SET source = 'webhook', detail = 14, content = 'webhook' WHERE wa_message_id = '${id}'`,
    )
    await lock.release()

    expect(await written).toEqual(['duplicate'])
    expect(await stored(id)).toMatchObject({ source: 'webhook', content: 'webhook' })
  })

  test('with a status does not take back the one that the row has by then', async () => {
    const id = nextId()
    await write(ofHistory(id, { direction: 'outbound', status: 'sent' }))
    const lock = await holdRow(id)
    const written = write(ofHistory(id, { direction: 'outbound', status: 'delivered' }))
    await lock.reached()

    await lock.run(`UPDATE chat_messages SET status = 'read' WHERE wa_message_id = '${id}'`)
    await lock.release()

    expect(await written).toEqual(['duplicate'])
    expect(await stored(id)).toMatchObject({ status: 'read' })
  })

  test('locks rows in the order of wa_message_id, not as they lie in the table', async () => {
    const [first, second, third] = [nextId(), nextId(), nextId()]
    for (const id of [second, first, third]) await write(messageItem(id))
    const lock = await holdRow(first)
    const items = [first, second, third].map((id) => messageItem(id))
    const written = writeBatch(withoutIndexes(database), items)
    await lock.reached()

    const { rows } = await database.pool.query(
      'SELECT FROM chat_messages WHERE wa_message_id = ANY($1) FOR UPDATE SKIP LOCKED',
      [[second, third]],
    )
    await lock.release()
    await written

    expect(rows).toHaveLength(2)
  })
})

test('two writers that store the same messages in another order wait for each other, and do not deadlock', async () => {
  const [first, second] = [nextId(), nextId()]
  await write(messageItem(nextId()))
  const insert = (id: string) =>
    `INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type)
     SELECT conversation_id, 'inbound', 'meta', '${id}', 'webhook', 14, 'text' FROM chat_messages LIMIT 1`
  const other = await holdLock(database, insert(first))
  const written = write(messageItem(second), messageItem(first))
  await other.reached()

  await other.run(insert(second))
  await other.release()

  expect(await written).toEqual(['duplicate', 'duplicate'])
})

describe('a copy with more data', () => {
  const [early, late] = [new Date('2026-05-01T10:00:00Z'), new Date('2026-05-01T10:00:05Z')]
  const [ann, bob] = [{ phone: '15550002001' }, { phone: '15550002002' }]
  const group = { contact: { group_id: 'group-1' } }
  const senderOf = async (id: string) => {
    const { rows } = await database.pool.query(
      `SELECT c.phone FROM chat_messages m JOIN contacts c ON c.id = m.sender_contact_id WHERE m.wa_message_id = $1`,
      [id],
    )
    return rows[0]?.phone
  }

  test('brings its own time and sender, and keeps the conversation, the direction and the arrival of the row', async () => {
    const id = nextId()
    await write(ofHistory(id, { ...group, sender: ann, sent_at: early }))
    const before = await stored(id)

    await write(
      messageItem(
        id,
        { contact: { phone: '15550002003' }, sender: bob, sent_at: late, direction: 'outbound' },
        { received_at: Date.parse('2026-06-02T12:00:00Z') },
      ),
    )

    const { conversation_id, direction, received_at } = before
    const after = await stored(id)
    expect(after).toMatchObject({ conversation_id, direction, received_at, sent_at: late, source: 'webhook' })
    expect(after.updated_at.getTime()).toBeGreaterThan(before.updated_at.getTime())
    expect(await senderOf(id)).toBe(bob.phone)
    const changes = await database.db
      .selectFrom('changes')
      .select('kind')
      .where('message_id', '=', after.id)
      .orderBy('id')
      .execute()
    expect(changes.map(({ kind }) => kind)).toEqual(['message.created', 'message.updated'])
  })

  test('leaves the time and the sender of the row where it has none', async () => {
    const id = nextId()
    await write(ofHistory(id, { ...group, sender: ann, sent_at: early }))

    await write(messageItem(id, group))

    expect(await stored(id)).toMatchObject({ sent_at: early, source: 'webhook' })
    expect(await senderOf(id)).toBe(ann.phone)
  })
})

describe('two copies in one batch', () => {
  test('of the same value: the first one stays', async () => {
    const id = nextId()

    expect(await write(messageItem(id, { content: 'one' }), messageItem(id, { content: 'two' }))).toEqual([
      'stored',
      'duplicate',
    ])
    expect(await stored(id)).toMatchObject({ content: 'one' })
  })

  test('of which the second has more data: it stays, and the first is a duplicate', async () => {
    const id = nextId()

    expect(await write(ofHistory(id), messageItem(id))).toEqual(['duplicate', 'stored'])
    expect(await stored(id)).toMatchObject({ source: 'webhook' })
  })

  test('of two business numbers: the second is parked', async () => {
    const id = nextId()

    expect(await write(messageItem(id), messageItem(id, { business_number: '999' }))).toEqual([
      'stored',
      'parked',
    ])
  })

  test.each(['outbound', 'inbound'] as const)(
    'of which both are placeholders of a message that went %s: the greater status counts, and the second is a duplicate',
    async (direction) => {
      const id = nextId()
      await write(ofHistory(id, { direction }))
      const placeholder = (status: string) =>
        ofHistory(id, { direction: 'outbound', is_placeholder: true, status })

      expect(await write(placeholder('read'), placeholder('delivered'))).toEqual(['merged', 'duplicate'])

      expect(await stored(id)).toMatchObject({ direction: 'outbound', status: 'read' })
    },
  )

  test('of which the first raises the status: one of another business number is parked all the same', async () => {
    const id = nextId()
    const copy = (business_number?: string) =>
      ofHistory(id, { direction: 'outbound', status: 'read', ...(business_number && { business_number }) })
    await write(messageItem(id, { source: 'echo', direction: 'outbound', status: 'sent' }))

    expect(await write(copy(), copy('999'))).toEqual(['merged', 'parked'])
  })

  test('of another business number than the row change nothing in it', async () => {
    const id = nextId()
    const contact = { phone: '15550002004' }
    await write(ofHistory(id, { direction: 'outbound', status: 'sent', contact }))
    const before = await stored(id)
    const other = () =>
      ofHistory(id, {
        business_number: '999',
        direction: 'outbound',
        status: 'read',
        is_placeholder: true,
        contact: { phone: '15550002005' },
      })

    expect(await write(other(), other())).toEqual(['parked', 'duplicate'])

    expect(await stored(id)).toEqual(before)
  })
})

describe('a copy with a status', () => {
  test('and more data does not take the status of the row back', async () => {
    const id = nextId()
    await write(ofHistory(id, { direction: 'outbound', status: 'read' }))

    expect(await write(messageItem(id, { source: 'echo', direction: 'outbound', status: 'sent' }))).toEqual([
      'merged',
    ])

    expect(await stored(id)).toMatchObject({ source: 'echo', status: 'read' })
  })

  test('of the other direction leaves the status of the row', async () => {
    const id = nextId()
    await write(messageItem(id))

    expect(await write(ofHistory(id, { direction: 'outbound', status: 'read' }))).toEqual(['duplicate'])

    expect(await stored(id)).toMatchObject({ status: null })
  })

  test('that the row has is a duplicate and announces nothing', async () => {
    const id = nextId()
    const copy = ofHistory(id, { direction: 'outbound', status: 'read' })
    await write(copy)
    const changes = () => database.db.selectFrom('changes').selectAll().execute()
    const before = await changes()

    expect(await write(copy)).toEqual(['duplicate'])

    expect(await changes()).toEqual(before)
  })
})

describe('the row of a message', () => {
  test('that another provider has stored refuses one with the same id', async () => {
    const id = nextId()
    await write(messageItem(id, { provider: 'twilio' }))

    expect(await write(messageItem(id))).toEqual(['parked'])
  })

  test('whose business number is not known takes copies of any number', async () => {
    const id = nextId()
    await write(ofHistory(id, { business_number: '' }))

    expect(await write(messageItem(id))).toEqual(['merged'])
  })

  test('knows a business number again that is too long for an index', async () => {
    const copy = messageItem(nextId(), { business_number: '9'.repeat(5000) })
    await write(copy)

    expect(await write(copy)).toEqual(['duplicate'])
  })
})
