/** A cached contact is never used after a merge, a change of an identifier or a changed profile. */
import { beforeEach, describe, expect, test } from 'vitest'
import type { ContactRef, MessageFact } from '../../../src/core/fact.ts'
import { createContactCache } from '../../../src/db/contacts/contact-cache.ts'
import { createEventStore, type EventStore } from '../../../src/db/ingest/event-store.ts'
import { messageItem, RECEIVED_AT } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const PHONE = '15550001234'
const USER_ID = 'US.13491208655302741918'
const MINUTE = 60_000
const SPAN = { from: 1_000, to: 2_000 }

describe('two writers', () => {
  let database: TestDatabase
  let ours: EventStore
  let theirs: EventStore
  let count = 0

  beforeEach(async () => {
    database = await createTestDatabase()
    ours = createEventStore({ db: database.db })
    theirs = createEventStore({ db: database.db })
  })

  /** Stores a message; returns the id of its conversation. */
  async function write(
    store: EventStore,
    contact: ContactRef,
    { minute = 0, ...fact }: Partial<MessageFact> & { minute?: number } = {},
  ): Promise<string> {
    const id = `wamid.${count++}`
    const sent_at = new Date(RECEIVED_AT + minute * MINUTE)
    const result = await store.store(messageItem(id, { contact, sent_at, ...fact }))
    expect(result).toEqual({ outcome: 'stored' })
    const row = await database.db
      .selectFrom('chat_messages')
      .innerJoin('conversations', 'conversations.id', 'conversation_id')
      .select(['conversation_id', 'merged_into'])
      .where('wa_message_id', '=', id)
      .executeTakeFirstOrThrow()
    expect(row.merged_into).toBeNull()
    return row.conversation_id
  }

  const names = async () =>
    (await database.db.selectFrom('contacts').select('name').orderBy('id').execute()).map(({ name }) => name)

  test('a contact that another writer merged is replaced by its survivor', async () => {
    const kept = await write(ours, { user_id: USER_ID })
    const lost = await write(ours, { phone: PHONE })
    await write(theirs, { phone: PHONE, user_id: USER_ID })

    expect(await write(ours, { phone: PHONE })).toBe(kept)
    expect(await write(ours, { user_id: USER_ID })).toBe(kept)
    expect(lost).not.toBe(kept)
  })

  test('a batch that merges a cached contact ends in one conversation', async () => {
    await write(ours, { user_id: USER_ID })
    await write(ours, { phone: PHONE })

    const results = await Promise.all(
      [{ phone: PHONE }, { phone: PHONE, user_id: USER_ID }, { user_id: USER_ID }].map((contact, index) =>
        ours.store(messageItem(`wamid.merge${index}`, { contact, sent_at: new Date(RECEIVED_AT) })),
      ),
    )

    expect(results).toEqual(Array(3).fill({ outcome: 'stored' }))
    const { rows } = await database.pool.query(
      `SELECT count(DISTINCT conversation_id) AS conversations, count(*) AS messages FROM chat_messages`,
    )
    expect(rows).toEqual([{ conversations: '1', messages: '5' }])
  })

  test('a message from a number that went to another person goes to the new owner', async () => {
    const before = await write(ours, { phone: PHONE })
    const changed_at = new Date(RECEIVED_AT + MINUTE)
    const to = { phone: '15550009999' }
    await write(theirs, { phone: PHONE }, { minute: 1, identity: { from: { phone: PHONE }, to, changed_at } })

    expect(await write(ours, to, { minute: 2 })).toBe(before)
    expect(await write(ours, { phone: PHONE }, { minute: 3 })).not.toBe(before)
  })

  test('a cached conversation that was deleted by hand is created again, and its message is not parked', async () => {
    const deleted = await write(ours, { phone: PHONE })
    await database.pool.query(
      'DELETE FROM chat_messages; DELETE FROM conversations; DELETE FROM contact_identifiers; DELETE FROM contacts',
    )

    expect(await write(ours, { phone: PHONE })).not.toBe(deleted)
    const { rows } = await database.pool.query(
      'SELECT payload IS NOT NULL AS "hasPayload" FROM chat_messages',
    )
    expect(rows).toEqual([{ hasPayload: true }])
  })

  test('the latest name stays when names go back and forth', async () => {
    await write(ours, { phone: PHONE, name: 'Ada' }, { minute: 0 })
    await write(ours, { phone: PHONE, name: 'Ada' }, { minute: 1 })
    await write(ours, { phone: PHONE, name: 'Countess' }, { minute: 2 })
    expect(await names()).toEqual(['Countess'])

    await write(ours, { phone: PHONE, name: 'Ada' }, { minute: 3 })

    expect(await names()).toEqual(['Ada'])
  })

  test('an old name comes back with a later message only', async () => {
    await write(ours, { phone: PHONE, name: 'Ada' }, { minute: 0 })
    await write(ours, { phone: PHONE, name: 'Countess' }, { minute: 5 })
    await write(ours, { phone: PHONE, name: 'Ada' }, { minute: 1 })
    await write(ours, { phone: PHONE, name: 'Ada' }, { minute: 2 })
    expect(await names()).toEqual(['Countess'])

    await write(ours, { phone: PHONE, name: 'Ada' }, { minute: 6 })

    expect(await names()).toEqual(['Ada'])
  })

  test('the last use of an identifier is stored to the hour', async () => {
    for (const minute of [0, 30, 59, 118, 119, 240]) await write(ours, { phone: PHONE }, { minute })

    const { rows } = await database.pool.query('SELECT last_used_at FROM contact_identifiers')
    expect(rows).toEqual([{ last_used_at: new Date(RECEIVED_AT + 240 * MINUTE) }])
  })
})

describe('an entry', () => {
  let time = 0
  const cacheOf = (...contacts: { ref: ContactRef; id: string; hasProfileChange?: boolean }[]) => {
    const cache = createContactCache(() => time)
    cache.enter('1')
    cache.store('1', {
      contacts: contacts.map(({ ref, id, hasProfileChange = false }) => ({
        ref,
        resolved: { id, validity: SPAN, hasProfileChange },
      })),
      conversations: [{ key: CONVERSATION, id: '7' }],
    })
    return cache
  }
  const CONVERSATION = { provider: 'meta', business_number: '1', contact_id: '5' }
  const ADA = { phone: PHONE, name: 'Ada' }

  beforeEach(() => {
    time = 0
  })

  test('is found for the same ref within its validity', () => {
    const cache = cacheOf({ ref: ADA, id: '5' })

    expect([999, 1_000, 2_000, 2_001].map((seenAt) => cache.findContact({ ...ADA }, seenAt))).toEqual([
      undefined,
      '5',
      '5',
      undefined,
    ])
    expect(cache.findContact({ phone: PHONE, name: 'Bea' }, 1_500)).toBeUndefined()
    expect(cache.findConversation({ ...CONVERSATION })).toBe('7')
    expect(cache.findConversation({ ...CONVERSATION, business_number: '2' })).toBeUndefined()
  })

  test('is dropped when the epoch advances', () => {
    const cache = cacheOf({ ref: ADA, id: '5' })

    cache.enter('1')
    expect(cache.findContact(ADA, 1_500)).toBe('5')
    cache.enter('2')

    expect(cache.findContact(ADA, 1_500)).toBeUndefined()
    expect(cache.isEmpty()).toBe(true)
  })

  test('is not stored when it was read in an earlier epoch', () => {
    const cache = createContactCache()
    cache.enter('2')

    cache.store('1', {
      contacts: [{ ref: ADA, resolved: { id: '5', validity: SPAN, hasProfileChange: false } }],
      conversations: [],
    })

    expect(cache.findContact(ADA, 1_500)).toBeUndefined()
  })

  test('expires after a minute', () => {
    const cache = cacheOf({ ref: ADA, id: '5' })

    time = 60_000
    expect(cache.findContact(ADA, 1_500)).toBe('5')
    time = 60_001

    expect(cache.findContact(ADA, 1_500)).toBeUndefined()
    expect(cache.findConversation(CONVERSATION)).toBeUndefined()
  })

  test('is evicted when the profile of its contact changes', () => {
    const cache = cacheOf({ ref: ADA, id: '5' }, { ref: { phone: '15550005678' }, id: '6' })

    const bea = {
      ref: { phone: PHONE, name: 'Bea' },
      resolved: { id: '5', validity: SPAN, hasProfileChange: true },
    }
    cache.store('1', { contacts: [bea], conversations: [] })

    expect(cache.findContact(ADA, 1_500)).toBeUndefined()
    expect(cache.findContact(bea.ref, 1_500)).toBe('5')
    expect(cache.findContact({ phone: '15550005678' }, 1_500)).toBe('6')
  })

  test('is evicted when 10,000 newer ones are stored, and is not stored for a ref of great length', () => {
    const refs = Array.from({ length: 10_001 }, (_, i) => ({ ref: { phone: String(i) }, id: String(i) }))
    const endless = { name: 'x'.repeat(1_000_000) }

    const cache = cacheOf(...refs, { ref: endless, id: '5' })

    expect(cache.findContact({ phone: '0' }, 1_500)).toBeUndefined()
    expect(cache.findContact({ phone: '1' }, 1_500)).toBe('1')
    expect(cache.findContact({ phone: '10000' }, 1_500)).toBe('10000')
    expect(cache.findContact(endless, 1_500)).toBeUndefined()
  })
})
