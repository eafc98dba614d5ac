/** Items with text that PostgreSQL cannot store or that does not fit an index: they stay distinct, and are not retried for ever. */
import { beforeEach, describe, expect, test } from 'vitest'
import { createEventStore, type EventStore } from '../../../src/db/ingest/event-store.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let store: EventStore

beforeEach(async () => {
  database = await createTestDatabase()
  store = createEventStore({ db: database.db })
})

const outcomeOf = async (item: StoreItem) => (await store.store(item)).outcome
const events = () => database.db.selectFrom('webhook_events').selectAll().orderBy('id').execute()

describe('a business number', () => {
  test.each([
    ['of 3,000 letters', 'x'.repeat(3_000)],
    ['with U+0000', 'a\u0000b'],
    ['with a lone surrogate', 'a\ud800'],
  ])('%s is the same number when its message comes again', async (_what, business_number) => {
    const item = messageItem('wamid.A', { business_number })

    expect([await outcomeOf(item), await outcomeOf(item)]).toEqual(['stored', 'duplicate'])
    expect(await events()).toEqual([])
  })

  test('of 3,000 letters parks a message of another number once', async () => {
    const other = messageItem('wamid.A', { business_number: 'x'.repeat(3_000) })
    await outcomeOf(messageItem('wamid.A'))

    expect([await outcomeOf(other), await outcomeOf(other)]).toEqual(['parked', 'duplicate'])
    expect(await events()).toMatchObject([
      { reason: 'wa_message_id is already stored for another business number' },
    ])
  })
})

describe('people', () => {
  test.each([
    ['U+0000', ['US.a\u0000', 'US.a\ufffd']],
    ['lone surrogates', ['US.a\ud800', 'US.a\ud801', 'US.a\ufffd']],
    ['the end of a long id', ['x'.repeat(600), `${'x'.repeat(600)}y`]],
  ])('whose ids differ only in %s stay apart', async (_what, ids) => {
    for (const [i, user_id] of ids.entries())
      await outcomeOf(messageItem(`wamid.${i}`, { contact: { user_id } }))

    expect(await database.db.selectFrom('contacts').select('id').execute()).toHaveLength(ids.length)
    expect(await database.db.selectFrom('conversations').select('id').execute()).toHaveLength(ids.length)
  })
})

describe('an event that cannot be written', () => {
  test('is parked once when a value is too long for an index', async () => {
    const item = statusItem('wamid.A', 'sent', { participant: randomText(9_000) })

    expect([await outcomeOf(item), await outcomeOf(item)]).toEqual(['parked', 'duplicate'])
    expect(await events()).toMatchObject([{ reason: expect.stringContaining('SQLSTATE 54000') }])
  })

  test('is kept as bytes when it is nested too deep for our own code, and the others are stored', async () => {
    const payload = `["\\u0000",${'['.repeat(50_000)}${']'.repeat(50_000)}]`

    const outcomes = await Promise.all(
      [messageItem('wamid.A', {}, { payload }), messageItem('wamid.B')].map(outcomeOf),
    )

    expect(outcomes).toEqual(['stored', 'stored'])
    const [row] = await database.db.selectFrom('chat_messages').selectAll().orderBy('wa_message_id').execute()
    expect(row).toMatchObject({ wa_message_id: 'wamid.A', payload: null })
    expect(row?.raw?.toString()).toBe(payload)
  })

  test('as jsonb loses neither its payload nor its context', async () => {
    const context =
      '{"metadata":{"display_phone_number":1e999999},"contact":{"profile":{"name":"a\\u0000b"}}}'
    const item = messageItem('wamid.A', {}, { payload: '{"n":1e999999}', context })
    const parked: StoreItem = { ...item, fact: { kind: 'parked', reason: 'made up' } }

    await outcomeOf(parked)

    const [event] = await events()
    expect(event?.raw.toString()).toBe('{"n":1e999999}')
    expect(event?.payload).toEqual({ n: '1e999999' })
    expect(event?.context).toEqual({
      metadata: { display_phone_number: '1e999999' },
      contact: { profile: { name: 'a\ufffdb' } },
    })
  })
})

/** Random text: PostgreSQL compresses other text before it measures it. */
function randomText(length: number): string {
  let text = ''
  for (let i = 0, x = 1; i < length; i += 1) {
    x = (x * 48_271) % 2_147_483_647
    text += String.fromCharCode(33 + (x % 90))
  }
  return text
}
