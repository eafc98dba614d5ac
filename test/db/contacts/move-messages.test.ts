/** Merging conversations with many messages: one conversation for readers at once, moved in steps. */
import { describe, expect, test } from 'vitest'
import { moveMergedMessages } from '../../../src/db/contacts/move-messages.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { claimNext } from '../../../src/db/outbox/claim.ts'
import { markAsRead } from '../../../src/db/outbox/mark-read.ts'
import { readChanges, readPresentCursor } from '../../../src/db/views/change-feed.ts'
import { findConversation } from '../../../src/db/views/conversation-list.ts'
import { listMessages } from '../../../src/db/views/message-list.ts'
import { eventually } from '../../support/eventually.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { waitForVisibleChanges } from '../../support/visible-changes.ts'

const ANN = { phone: '15550001111' }
const ANN_BY_ID = { user_id: 'US.222' }
/** More than a merge moves in its own transaction. */
const MANY = 1_200

const write = ({ db }: TestDatabase, id: string, contact: object) =>
  writeBatch(db, [messageItem(id, { contact, business_number: META_PHONE_NUMBER_ID })])

const merge = ({ db }: TestDatabase, contact: object) =>
  writeBatch(db, [statusItem(`wamid.${JSON.stringify(contact)}`, 'sent', { recipient: contact })])

async function conversationOf({ pool }: TestDatabase, waMessageId: string): Promise<string> {
  const { rows } = await pool.query('SELECT conversation_id FROM chat_messages WHERE wa_message_id = $1', [
    waMessageId,
  ])
  return rows[0].conversation_id
}

/** Copies the message `id` many times: `${id}.1`, `${id}.2` … */
async function multiply({ pool }: TestDatabase, id: string, count = MANY): Promise<void> {
  await pool.query(
    `INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type, sent_at)
     SELECT conversation_id, direction, provider, wa_message_id || '.' || n, source, detail, message_type, now()
     FROM chat_messages, generate_series(1, $2::integer) n WHERE wa_message_id = $1`,
    [id, count],
  )
}

/** One contact by phone with one message, the same person by user id with many; then a webhook names both. */
async function mergeMany(
  database?: TestDatabase,
): Promise<{ database: TestDatabase; kept: string; loser: string }> {
  database ??= await createTestDatabase()
  await write(database, 'wamid.A', ANN)
  await write(database, 'wamid.B', ANN_BY_ID)
  await multiply(database, 'wamid.B')
  const [kept, loser] = [await conversationOf(database, 'wamid.A'), await conversationOf(database, 'wamid.B')]
  await merge(database, { ...ANN, ...ANN_BY_ID })
  return { database, kept, loser }
}

/** How many messages each conversation has. */
async function placement({ pool }: TestDatabase): Promise<Record<string, number>> {
  const { rows } = await pool.query(
    'SELECT conversation_id AS id, count(*)::integer FROM chat_messages GROUP BY 1 ORDER BY 1',
  )
  return Object.fromEntries(rows.map(({ id, count }) => [id, count]))
}

async function movingConversations({ pool }: TestDatabase): Promise<string[]> {
  const { rows } = await pool.query('SELECT id FROM conversations WHERE moving_since IS NOT NULL ORDER BY id')
  return rows.map(({ id }) => id)
}

async function readAll({ db }: TestDatabase, conversationId: string): Promise<string[]> {
  const ids: string[] = []
  let after: { time: string; id: string } | undefined
  do {
    const page = await listMessages(db, { conversationId, limit: 100, after })
    ids.push(...(page?.items ?? []).map(({ id }) => id))
    after = page?.next
  } while (after !== undefined)
  return ids
}

describe('right after the merge of a long conversation', () => {
  test('most messages are still where they were, and readers see one conversation', async () => {
    const { database, kept, loser } = await mergeMany()

    const placed = await placement(database)
    expect(placed[loser]).toBeGreaterThan(0)
    expect(await movingConversations(database)).toEqual([loser])
    const ids = await readAll(database, loser)
    expect(ids).toHaveLength(MANY + 2)
    expect(new Set(ids).size).toBe(MANY + 2)
    expect(await readAll(database, kept)).toEqual(ids)
    const view = await findConversation(database.db, loser)
    expect(view).toMatchObject({ id: kept, unread_count: 1_000, last_message: { id: ids[0] } })
    const page = await listMessages(database.db, { conversationId: kept, limit: 1 })
    expect(page?.items[0]).toMatchObject({ conversation_id: kept, contact: { phone: ANN.phone } })
  })

  test('marking it as read marks what has not moved yet', async () => {
    const { database, kept } = await mergeMany()
    const { rows } = await database.pool.query('SELECT max(id) AS id FROM chat_messages')

    await markAsRead(database.db, { conversationId: kept, receiptProviders: ['meta'] })

    expect(await findConversation(database.db, kept)).toMatchObject({
      unread_count: 0,
      last_read_message_id: rows[0].id,
    })
    const receipts = await database.pool.query('SELECT conversation_id, message_id FROM read_receipts')
    expect(receipts.rows).toEqual([{ conversation_id: kept, message_id: rows[0].id }])
  })

  test('the feed names both conversations', async () => {
    const { database, kept, loser } = await mergeMany()

    const { rows } = await database.pool.query(
      `SELECT conversation_id, merged_into FROM changes WHERE kind = 'conversation.merged'`,
    )

    expect(rows).toEqual([{ conversation_id: loser, merged_into: kept }])
  })

  test('the feed gives a change of a message that has not moved to the remaining conversation', async () => {
    const { database, kept } = await mergeMany()
    const { rows } = await database.pool.query(
      'SELECT max(wa_message_id) AS id FROM chat_messages WHERE conversation_id <> $1',
      [kept],
    )
    const after = await readPresentCursor(database.db)

    await writeBatch(database.db, [statusItem(rows[0].id, 'read', { recipient: ANN_BY_ID })])
    await waitForVisibleChanges(database.db)

    const { items } = await readChanges(database.db, { after, limit: 10 })
    expect(items.filter(({ message_id }) => message_id !== null)).toMatchObject([
      { kind: 'message.status', conversation_id: kept, message: { conversation_id: kept } },
    ])
  })

  test('sends that wait have moved, and go out in their order', async () => {
    const database = await createTestDatabase()
    await write(database, 'wamid.A', ANN)
    await write(database, 'wamid.B', ANN_BY_ID)
    await multiply(database, 'wamid.B')
    const loser = await conversationOf(database, 'wamid.B')
    const first = await orderText(database.db, 'First', { conversation_id: loser })
    const second = await orderText(database.db, 'Second', {
      conversation_id: await conversationOf(database, 'wamid.A'),
    })

    await merge(database, { ...ANN, ...ANN_BY_ID })

    expect(await claimNext(database.db, second)).toMatchObject({ claim: { message: { message_id: first } } })
    expect(await claimNext(database.db, second)).toEqual({ kind: 'waiting' })
  })
})

describe('moving', () => {
  test('ends with every message in the remaining conversation, which remembers where it was', async () => {
    const { database, kept, loser } = await mergeMany()
    const before = await readAll(database, kept)
    const changes = async () => (await database.pool.query('SELECT count(*) FROM changes')).rows
    const announced = await changes()

    expect(await moveMergedMessages(database.db)).toBeGreaterThan(0)

    expect(await placement(database)).toEqual({ [kept]: MANY + 2 })
    expect(await movingConversations(database)).toEqual([])
    expect(await readAll(database, kept)).toEqual(before)
    expect(await changes()).toEqual(announced)
    const { rows } = await database.pool.query(
      'SELECT original_conversation_id AS id, count(*)::integer FROM chat_messages GROUP BY 1 ORDER BY 1',
    )
    expect(rows).toEqual([
      { id: loser, count: MANY + 1 },
      { id: null, count: 1 },
    ])
    expect(await moveMergedMessages(database.db)).toBe(0)
  })

  test('goes on after a step when it is stopped, and a row that is locked waits for the next time', async () => {
    const { database, kept, loser } = await mergeMany()
    const client = await database.pool.connect()
    await client.query('BEGIN')
    await client.query(
      'SELECT id FROM chat_messages WHERE conversation_id = $1 ORDER BY id LIMIT 1 FOR UPDATE',
      [loser],
    )

    expect(await moveMergedMessages(database.db, AbortSignal.abort())).toBe(0)
    await moveMergedMessages(database.db)
    expect(await placement(database)).toEqual({ [kept]: MANY + 1, [loser]: 1 })
    expect(await movingConversations(database)).toEqual([loser])

    await client.query('ROLLBACK')
    client.release()
    expect(await moveMergedMessages(database.db)).toBe(1)
    expect(await movingConversations(database)).toEqual([])
  })

  test('follows when the remaining conversation is merged into another one meanwhile', async () => {
    const database = await createTestDatabase()
    const parent = { parent_user_id: 'US.ENT.1' }
    await write(database, 'wamid.C', parent)
    const oldest = await conversationOf(database, 'wamid.C')
    const { kept } = await mergeMany(database)

    const moving = moveMergedMessages(database.db)
    await merge(database, { ...ANN, ...ANN_BY_ID, ...parent })
    await moving
    await moveMergedMessages(database.db)

    expect(await placement(database)).toEqual({ [oldest]: MANY + 3 })
    expect(await readAll(database, kept)).toHaveLength(MANY + 3)
  })

  test('in two processes at once, while messages arrive and are read, loses and doubles nothing', async () => {
    const { database, kept } = await mergeMany()
    let isMoving = true
    const arrivals = (async () => {
      let count = 0
      for (; isMoving || count === 0; count += 1)
        await write(database, `wamid.new.${count}`, count % 2 ? ANN : ANN_BY_ID)
      return count
    })()
    const readings = (async () => {
      while (isMoving) {
        const ids = await readAll(database, kept)
        expect(ids.length).toBeGreaterThanOrEqual(MANY + 2)
        expect(new Set(ids).size).toBe(ids.length)
      }
    })()

    await Promise.all([moveMergedMessages(database.db), moveMergedMessages(database.db)])
    await eventually(async () => expect(await movingConversations(database)).toEqual([]))
    isMoving = false
    const [arrived] = await Promise.all([arrivals, readings])

    expect(await placement(database)).toEqual({ [kept]: MANY + 2 + arrived })
  })
})
