/** What a late placeholder changes in a stored message and in the two conversations, also beside other writers of them. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import {
  moveToPlaceholderConversations,
  type PlaceholderUpdate,
} from '../../../src/db/ingest/history-placeholders.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { messageItem, RECEIVED_AT, statusItem } from '../../support/facts.ts'
import { holdLock, withoutIndexes } from '../../support/held-lock.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

let count = 0
const next = () => {
  count += 1
  return String(count).padStart(4, '0')
}
const nextId = () => `wamid.${next()}`
const nextContact = () => ({ phone: `1555100${next()}` })
const at = (hour: number) => new Date(Date.UTC(2026, 4, 1, hour))

const write = (...items: StoreItem[]) => writeBatch(database.db, items)
const query = async (text: string, ...values: unknown[]) => (await database.pool.query(text, values)).rows
const media = (id: string, fact: Partial<MessageFact> = {}) =>
  messageItem(id, { source: 'history', message_type: 'image', ...fact })
const placeholder = (id: string, fact: Partial<MessageFact> = {}) =>
  media(id, { is_placeholder: true, message_type: 'media_placeholder', ...fact })
const stored = async (id: string) =>
  (await query('SELECT * FROM chat_messages WHERE wa_message_id = $1', id))[0]
const conversation = async (id: string) => (await query('SELECT * FROM conversations WHERE id = $1', id))[0]

/** Stores a message of a new person; returns the id of its conversation. */
async function newConversation(fact: Partial<MessageFact> = {}): Promise<string> {
  const id = nextId()
  await write(media(id, { contact: nextContact(), ...fact }))
  return (await stored(id)).conversation_id
}

/** Media in a conversation of their own, and what a placeholder in `conversation_id` says of them. */
async function misplaced(
  conversation_id: string,
  fact: Partial<MessageFact> = {},
  told: Partial<PlaceholderUpdate> = {},
): Promise<PlaceholderUpdate> {
  const wa_message_id = nextId()
  await write(media(wa_message_id, { contact: nextContact(), sent_at: at(1), ...fact }))
  const row = await stored(wa_message_id)
  return {
    id: row.id,
    wa_message_id,
    present_conversation_id: row.conversation_id,
    conversation_id,
    direction: 'inbound',
    sender_contact_id: null,
    status: null,
    error: null,
    sent_at: null,
    ...told,
  }
}

const move = (...updates: PlaceholderUpdate[]) => moveToPlaceholderConversations(database.db, updates)

describe('a placeholder in the conversation of its message', () => {
  const contact = nextContact()
  const errors = '[{"code":131026}]'
  const [ann, bob] = [{ sender: { phone: '15551000801' } }, { sender: { phone: '15551000802' } }]

  test.each<{
    what: string
    before: Partial<MessageFact>
    told: Partial<MessageFact>
    outcome: 'merged' | 'duplicate'
    after: object
  }>([
    {
      what: 'brings its time where the message has none',
      before: {},
      told: { sent_at: at(2) },
      outcome: 'merged',
      after: { sent_at: at(2) },
    },
    {
      what: 'leaves the time of the message',
      before: { sent_at: at(1) },
      told: { sent_at: at(2) },
      outcome: 'duplicate',
      after: { sent_at: at(1) },
    },
    {
      what: 'changes nothing when neither has a time',
      before: {},
      told: {},
      outcome: 'duplicate',
      after: { sent_at: null },
    },
    {
      what: 'brings its direction',
      before: { sent_at: at(1) },
      told: { direction: 'outbound', sent_at: at(2) },
      outcome: 'merged',
      after: { direction: 'outbound', sent_at: at(1) },
    },
    {
      what: 'brings its sender where the message has none',
      before: {},
      told: { direction: 'outbound', ...ann },
      outcome: 'merged',
      after: { sender: ann.sender.phone },
    },
    {
      what: 'leaves the sender of the message',
      before: bob,
      told: { direction: 'outbound', ...ann },
      outcome: 'merged',
      after: { sender: bob.sender.phone },
    },
    {
      what: 'brings a failure with its error',
      before: { direction: 'outbound' },
      told: { direction: 'outbound', status: 'failed', error: errors },
      outcome: 'merged',
      after: { status: 'failed', error: JSON.parse(errors) },
    },
    {
      what: 'leaves a later status with its error',
      before: { direction: 'outbound', status: 'failed', error: errors },
      told: { direction: 'outbound', status: 'sent', sent_at: at(2) },
      outcome: 'merged',
      after: { status: 'failed', error: JSON.parse(errors), sent_at: at(2) },
    },
  ])('$what', async ({ before, told, outcome, after }) => {
    const id = nextId()
    await write(media(id, { contact, ...before }))
    const { updated_at } = await stored(id)

    expect(await write(placeholder(id, { contact, ...told }))).toEqual([outcome])

    const row = await stored(id)
    const [sender] = await query('SELECT phone FROM contacts WHERE id = $1', row.sender_contact_id)
    expect({ ...row, sender: sender?.phone }).toMatchObject(after)
    expect(row.updated_at > updated_at).toBe(outcome === 'merged')
  })
})

describe('a message that moves to the conversation of its placeholder', () => {
  test('does so in the same batch, and is announced with it', async () => {
    const [id, contact] = [nextId(), nextContact()]
    await write(media(id, { contact: nextContact(), sent_at: at(1) }))
    const before = (await stored(id)).conversation_id

    expect(await write(placeholder(id, { contact }))).toEqual(['merged'])

    const { conversation_id, id: message_id } = await stored(id)
    expect(conversation_id).not.toBe(before)
    expect(await conversation(conversation_id)).toMatchObject({ last_message_at: at(1) })
    expect(
      await query(
        `SELECT conversation_id FROM changes WHERE message_id = $1 AND kind = 'message.updated'`,
        message_id,
      ),
    ).toEqual([{ conversation_id }])
  })

  test.each([
    ['later than its last one: takes its time', [at(3), at(2)], at(0), at(3)],
    ['earlier than its last one: leaves its time', [at(3)], at(5), at(5)],
    [
      'from the future: takes the time of its arrival',
      [new Date('9999-12-31')],
      at(0),
      new Date(RECEIVED_AT),
    ],
  ])('the conversation that gets messages %s', async (_, times, lastBefore, lastAfter) => {
    const target = await newConversation({ sent_at: lastBefore })
    const updates = await Promise.all(times.map((sent_at) => misplaced(target, { sent_at })))

    await move(...updates)

    expect(await conversation(target)).toMatchObject({ last_message_at: lastAfter })
  })

  test('leaves the time of the conversation that has other messages, also where those are still on their way', async () => {
    const target = await newConversation()
    const contact = nextContact()
    await write(media(nextId(), { contact, sent_at: at(1) }))
    const own = await misplaced(target, { contact, sent_at: at(2) })
    const [part] = [await newConversation()]
    const ofParts = await misplaced(target, { sent_at: at(2) })
    await query(
      'UPDATE conversations SET merged_into = $2, moving_since = now() WHERE id = $1',
      part,
      ofParts.present_conversation_id,
    )
    const earlier = await misplaced(target, { sent_at: at(4) })

    await move(own, ofParts, earlier)

    expect(await conversation(own.present_conversation_id)).toMatchObject({ last_message_at: at(2) })
    expect(await conversation(ofParts.present_conversation_id)).toMatchObject({ last_message_at: at(2) })
    expect(await conversation(earlier.present_conversation_id)).toMatchObject({ last_message_at: null })
  })

  test('remembers the first conversation, and none that was merged into another one', async () => {
    const [target, elsewhere, first] = [
      await newConversation(),
      await newConversation(),
      await newConversation(),
    ]
    const known = await misplaced(target)
    await query('UPDATE chat_messages SET original_conversation_id = $2 WHERE id = $1', known.id, first)
    await query(
      'UPDATE conversations SET merged_into = $2 WHERE id = $1',
      known.present_conversation_id,
      target,
    )
    const other = await misplaced(target)
    await query(
      'UPDATE conversations SET merged_into = $2 WHERE id = $1',
      other.present_conversation_id,
      elsewhere,
    )

    await move(known, other)

    expect(await stored(known.wa_message_id)).toMatchObject({
      conversation_id: target,
      original_conversation_id: first,
    })
    expect(await stored(other.wa_message_id)).toMatchObject({
      conversation_id: target,
      original_conversation_id: null,
    })
  })
})

describe('a message that moves beside other writers', () => {
  test('waits for a merge, and goes to the conversation that remains', async () => {
    const [target, survivor] = [await newConversation(), await newConversation()]
    const update = await misplaced(target)
    const merge = await holdLock(database, `SELECT pg_advisory_xact_lock(${0x77612d63}, 1)`)
    await merge.run(`UPDATE conversations SET merged_into = ${survivor} WHERE id = ${target}`)

    const moved = move(update)
    await merge.reached()
    await merge.release()
    await moved

    expect(await stored(update.wa_message_id)).toMatchObject({ conversation_id: survivor })
  })

  test.each([
    ['the conversation', false],
    ['the conversation that its own was merged into', true],
  ])('leaves the time of %s that gets another message meanwhile', async (_, isMerged) => {
    const update = await misplaced(await newConversation())
    const present = update.present_conversation_id
    const left = isMerged ? await newConversation() : present
    if (isMerged) {
      await query('UPDATE conversations SET merged_into = $2 WHERE id = $1', present, left)
      await query('DELETE FROM chat_messages WHERE conversation_id = $1', left)
      await query('UPDATE chat_messages SET conversation_id = $2 WHERE id = $1', update.id, left)
    }
    const insert = await holdLock(
      database,
      `INSERT INTO chat_messages (conversation_id, direction, provider, source, detail, message_type, sent_at, received_at)
       VALUES (${left}, 'inbound', 'meta', 'webhook', 14, 'text', now(), now())`,
    )
    await insert.run(`UPDATE conversations SET last_message_at = '${at(9).toISOString()}' WHERE id = ${left}`)

    const moved = move(update)
    await insert.reached()
    await insert.release()
    await moved

    expect(await conversation(left)).toMatchObject({ last_message_at: at(9) })
  })

  test('keeps the status that another writer gives it meanwhile', async () => {
    const update = await misplaced(
      await newConversation(),
      { direction: 'outbound' },
      { direction: 'outbound', status: 'read' },
    )
    const writer = await holdLock(
      database,
      `UPDATE chat_messages SET status = 'played' WHERE id = ${update.id}`,
    )

    const moved = move(update)
    await writer.reached()
    await writer.release()
    await moved

    expect(await stored(update.wa_message_id)).toMatchObject({
      status: 'played',
      conversation_id: update.conversation_id,
    })
  })

  test.each(['conversations', 'chat_messages'])(
    'locks %s in one order, not as they lie in the table',
    async (table) => {
      const one = await misplaced(await newConversation())
      const two = await misplaced(await newConversation())
      const [first, second] =
        table === 'conversations' ? [one.conversation_id, two.present_conversation_id] : [one.id, two.id]
      // A new version of a row lies behind the others.
      await query(`UPDATE ${table} SET created_at = created_at WHERE id = $1`, first)
      const lock = await holdLock(database, `SELECT FROM ${table} WHERE id = ${first} FOR UPDATE`)

      const moved = moveToPlaceholderConversations(withoutIndexes(database), [one, two])
      await lock.reached()
      const free = await query(`SELECT FROM ${table} WHERE id = $1 FOR UPDATE SKIP LOCKED`, second)
      await lock.release()
      await moved

      expect(free).toHaveLength(1)
    },
  )
})

test.each<{ what: string; before: Partial<MessageFact> }>([
  { what: 'is in standby', before: { source: 'standby' } },
  { what: 'is a placeholder itself', before: { is_placeholder: true } },
])('a message that $what is no media, and a placeholder leaves it', async ({ before }) => {
  const id = nextId()
  await write(media(id, { contact: nextContact(), ...before }))
  const row = await stored(id)

  expect(
    await write(placeholder(id, { contact: nextContact(), direction: 'outbound', sent_at: at(1) })),
  ).toEqual(['duplicate'])

  expect(await stored(id)).toEqual(row)
})

test('a status that comes with a placeholder does not hide one that came before', async () => {
  const [id, contact] = [nextId(), nextContact()]
  await write(media(id, { contact, direction: 'outbound' }), statusItem(id, 'read'))

  await write(placeholder(id, { contact, direction: 'outbound', status: 'delivered' }))

  expect(await stored(id)).toMatchObject({ status: 'read' })
})
