import { beforeEach, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { moveToPlaceholderConversations } from '../../../src/db/ingest/history-placeholders.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { listConversations } from '../../../src/db/views/conversation-list.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const PERSON = { phone: '15550001234' }

/** A placeholder as Meta sends it: in the thread of a person, with a status. */
const placeholder = (id = 'wamid.M') =>
  messageItem(id, {
    source: 'history',
    is_placeholder: true,
    message_type: 'media_placeholder',
    direction: 'outbound',
    contact: PERSON,
    status: 'read',
    sent_at: new Date('2026-05-01T10:00:00Z'),
  })
/** The media as Meta sends them later, possibly with another sender. */
const media = (id = 'wamid.M', fact: Partial<MessageFact> = {}) =>
  messageItem(id, {
    source: 'history',
    message_type: 'image',
    content: 'The view',
    contact: PERSON,
    sent_at: new Date('2026-04-30T10:00:00Z'),
    ...fact,
  })
const mediaOfNobody = (id?: string) => media(id, { direction: 'outbound', contact: {} })

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const write = (...items: StoreItem[]) => writeBatch(database.db, items)

const stored = async () => {
  const { rows } = await database.pool.query(`
    SELECT m.message_type, m.content, m.direction, m.status, m.sent_at, p.phone FROM chat_messages m
    JOIN conversations v ON v.id = m.conversation_id JOIN contacts p ON p.id = v.contact_id`)
  return rows
}

const listed = async () => {
  const { items } = await listConversations(database.db, { limit: 10 })
  return items.map(({ contact, last_message_at }) => [contact.phone, last_message_at])
}

const changes = async () => {
  const { rows } = await database.pool.query('SELECT kind FROM changes ORDER BY id')
  return rows.map(({ kind }) => kind)
}

const FILED = {
  message_type: 'image',
  content: 'The view',
  direction: 'outbound',
  status: 'read',
  sent_at: new Date('2026-04-30T10:00:00Z'),
  phone: '15550001234',
}

describe('media of the history and their placeholder', () => {
  test.each([
    ['another sender', media],
    ['nobody', mediaOfNobody],
  ])('are the same row in every order and in one batch: media of %s', async (_, mediaOf) => {
    await write(placeholder('wamid.1'))
    await write(mediaOf('wamid.1'))
    await write(mediaOf('wamid.2'))
    await write(placeholder('wamid.2'))
    await write(placeholder('wamid.3'), mediaOf('wamid.3'))
    await write(mediaOf('wamid.4'), placeholder('wamid.4'))

    expect(await stored()).toEqual([FILED, FILED, FILED, FILED])
  })

  test('are the same row when two writers bring them at the same instant, in every one of 50 races', async () => {
    const ids = Array.from({ length: 50 }, (_, i) => `wamid.race${i}`)

    await Promise.all(ids.flatMap((id) => [write(mediaOfNobody(id)), write(placeholder(id))]))

    expect(await stored()).toEqual(ids.map(() => FILED))
  })

  test('have outcomes of their own: the first is stored, one that adds data is merged, the rest are duplicates', async () => {
    expect(await write(media())).toEqual(['stored'])
    expect(await write(placeholder(), placeholder())).toEqual(['merged', 'duplicate'])
    expect(await write(placeholder(), media())).toEqual(['duplicate', 'duplicate'])
    expect(await stored()).toEqual([FILED])
  })

  test('leave no empty conversation in the list', async () => {
    await write(mediaOfNobody())
    await write(placeholder())

    expect(await listed()).toEqual([['15550001234', '2026-04-30T10:00:00.000Z']])
  })

  test.each([
    ['after the media', () => [[mediaOfNobody()], [placeholder()]]],
    ['in a batch with them', () => [[], [mediaOfNobody(), placeholder()]]],
  ])(
    'leave none either where a placeholder came %s and was stored twice, as after a crash',
    async (_, steps) => {
      const [before, interrupted] = steps()
      if (before!.length > 0) await write(...before!)
      await database.pool.query(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'crash' USING ERRCODE = '57P02'; END $$;
      CREATE TRIGGER crash BEFORE UPDATE ON conversations FOR EACH ROW WHEN (NEW.last_message_at IS NULL)
        EXECUTE FUNCTION refuse()`)
      await expect(write(...interrupted!)).rejects.toThrow('crash')
      await database.pool.query('DROP TRIGGER crash ON conversations')

      await write(placeholder())

      expect(await listed()).toEqual([['15550001234', '2026-04-30T10:00:00.000Z']])
      expect(await stored()).toEqual([FILED])
      expect(await changes()).toEqual(['message.created', 'message.updated'])
    },
  )

  test('are moved to the surviving conversation when theirs was merged meanwhile', async () => {
    await write(mediaOfNobody())
    await write(messageItem('wamid.by-phone', { contact: PERSON }))
    await write(messageItem('wamid.by-user', { contact: { user_id: 'US.1' } }))
    await write(messageItem('wamid.tie', { contact: { ...PERSON, user_id: 'US.1' } }))
    const { rows } = await database.pool.query(`
      SELECT m.id, m.wa_message_id, m.conversation_id AS left_id, v.id AS conversation_id, v.merged_into
      FROM chat_messages m, conversations v WHERE m.wa_message_id = 'wamid.M' AND v.merged_into IS NOT NULL`)
    const [{ merged_into, ...filed }] = rows
    const told = {
      direction: 'outbound',
      sender_contact_id: null,
      status: 'read',
      error: null,
      sent_at: null,
    }

    await moveToPlaceholderConversations(database.db, [{ ...filed, ...told }])

    const conversations = await database.db
      .selectFrom('chat_messages')
      .select('conversation_id')
      .distinct()
      .execute()
    expect(conversations).toEqual([{ conversation_id: merged_into }])
    expect(await stored()).toContainEqual(FILED)
  })

  test('never take a status back', async () => {
    await write(statusItem('wamid.M', 'played'), media())
    await write(placeholder())

    expect(await stored()).toEqual([{ ...FILED, status: 'played' }])
  })

  test('are announced once', async () => {
    await write(media())
    await write(placeholder())
    await write(placeholder())

    expect(await changes()).toEqual(['message.created', 'message.updated'])
  })
})

test('a message that came in a webhook is not moved by a placeholder of the history', async () => {
  const live = messageItem('wamid.M', { contact: PERSON, sent_at: new Date('2026-04-30T10:00:00Z') })
  await write(live)

  expect(await write(placeholder())).toEqual(['duplicate'])
  expect(await stored()).toMatchObject([{ direction: 'inbound', status: null, content: 'Hello' }])
})

test('a message that has still to move after a merge remembers where it was when its placeholder comes again', async () => {
  await write(placeholder(), media())
  const { rows } = await database.pool.query(
    `WITH contact AS (INSERT INTO contacts (name) VALUES ('Ann') RETURNING id), loser AS (
       INSERT INTO conversations (provider, business_number, contact_id, merged_into, moving_since)
       SELECT v.provider, v.business_number, contact.id, v.id, now() FROM conversations v, contact RETURNING id, merged_into
     )
     UPDATE chat_messages m SET conversation_id = loser.id FROM loser RETURNING loser.id, loser.merged_into`,
  )

  await write(placeholder())

  const moved = await database.pool.query(
    'SELECT conversation_id, original_conversation_id FROM chat_messages',
  )
  expect(moved.rows).toEqual([{ conversation_id: rows[0].merged_into, original_conversation_id: rows[0].id }])
})
