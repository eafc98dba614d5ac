import { beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, createPool } from '../../../src/db/connect.ts'
import { createEventStore, type EventStore } from '../../../src/db/ingest/event-store.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { messageItem, otherItem, statusItem } from '../../support/facts.ts'
import { holdLock } from '../../support/held-lock.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let store: EventStore

beforeEach(async () => {
  database = await createTestDatabase()
  store = createEventStore({ db: database.db })
})

const outcomesOf = async (items: Parameters<EventStore['store']>[0][]) =>
  (await Promise.all(items.map((item) => store.store(item)))).map((result) => result.outcome)
const count = async (table: string) =>
  Number((await database.pool.query(`SELECT count(*) FROM ${table}`)).rows[0].count)

describe('one bad event in a batch', () => {
  test('is parked with the reason, and the rest of its batch is stored', async () => {
    await database.pool.query(
      `ALTER TABLE chat_messages ADD CONSTRAINT no_bad_news CHECK (content <> 'bad news')`,
    )
    const items = Array.from({ length: 50 }, (_, i) =>
      messageItem(`wamid.${i}`, { content: i === 17 ? 'bad news' : 'good news' }),
    )

    const outcomes = await outcomesOf(items)

    expect(outcomes.filter((outcome) => outcome === 'stored')).toHaveLength(49)
    expect(outcomes[17]).toBe('parked')
    const events = await database.db.selectFrom('webhook_events').selectAll().execute()
    expect(events).toMatchObject([
      { wa_message_id: 'wamid.17', reason: expect.stringContaining('no_bad_news') },
    ])
    expect(events[0]?.raw.toString()).toBe(items[17]?.event.payload)
  })

  test('keeps its place as a message when only jsonb refused its payload', async () => {
    const payload = `${'['.repeat(50_000)}${']'.repeat(50_000)}`

    expect(await outcomesOf([messageItem('wamid.A', {}, { payload }), messageItem('wamid.B')])).toEqual([
      'stored',
      'stored',
    ])

    const row = await database.db
      .selectFrom('chat_messages')
      .selectAll()
      .where('wa_message_id', '=', 'wamid.A')
      .executeTakeFirstOrThrow()
    expect(row.payload).toBeNull()
    expect(row.raw?.toString()).toBe(payload)
  })

  test('of any kind, with a payload nested deeper than jsonb allows, is kept', async () => {
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`

    const status = statusItem('wamid.A', 'sent')
    const other = otherItem({})
    status.event.payload = deep
    other.event.payload = deep

    expect(await outcomesOf([status, other, messageItem('wamid.B', {}, { payload: deep })])).toEqual([
      'stored',
      'stored',
      'stored',
    ])
  })
})

describe('a failure that is not the fault of an event', () => {
  test('a missing column leaves messages to be retried and nothing parked; statuses are stored', async () => {
    await database.pool.query('ALTER TABLE chat_messages DROP COLUMN referral')

    expect(await outcomesOf([messageItem('wamid.A'), statusItem('wamid.A', 'sent')])).toEqual([
      'retry',
      'stored',
    ])
    expect([await count('chat_messages'), await count('webhook_events')]).toEqual([0, 0])
  })

  test('a missing table leaves what needs it to be retried, and nothing parked', async () => {
    await database.pool.query('ALTER TABLE message_statuses RENAME TO message_statuses_elsewhere')

    expect(await outcomesOf([messageItem('wamid.A'), statusItem('wamid.A', 'sent')])).toEqual([
      'retry',
      'retry',
    ])
    expect(await count('webhook_events')).toBe(0)
  })

  test('a missing grant leaves the whole batch to be retried, and nothing parked', async () => {
    const role = `reader_${Date.now()}`
    await database.pool.query(`CREATE ROLE ${role} LOGIN PASSWORD 'reader'`)
    await database.pool.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`)
    const url = new URL(database.url)
    url.username = role
    url.password = 'reader'
    const reader = createDatabase(createPool({ url: url.href, applicationName: 'test' }))
    cleanUp(async () => {
      await reader.destroy()
      await database.pool.query(`DROP OWNED BY ${role}`)
      await database.pool.query(`DROP ROLE ${role}`)
    })

    const result = await createEventStore({ db: reader }).store(messageItem('wamid.A'))

    expect(result.outcome).toBe('retry')
    expect(await count('webhook_events')).toBe(0)
  })

  test('a database that is away leaves the whole batch to be retried', async () => {
    const nowhere = createDatabase(
      createPool({
        url: 'postgres://nobody@127.0.0.1:1/nothing',
        applicationName: 'test',
        connectTimeoutMs: 500,
      }),
    )
    cleanUp(() => nowhere.destroy())

    const result = await createEventStore({ db: nowhere }).store(messageItem('wamid.A'))

    expect(result.outcome).toBe('retry')
  })
})

test('a deadlock is retried by itself', async () => {
  await database.pool.query(`
    CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF nextval('failures') <= 2 THEN RAISE EXCEPTION 'made up' USING ERRCODE = '40P01'; END IF;
      RETURN NEW;
    END $$`)
  await database.pool.query(`CREATE SEQUENCE failures`)
  await database.pool.query(
    `CREATE TRIGGER fail_twice BEFORE INSERT ON chat_messages FOR EACH ROW EXECUTE FUNCTION fail_twice()`,
  )

  expect((await store.store(messageItem('wamid.A'))).outcome).toBe('stored')
})

test('after an error no conversation is taken from memory: another server may have taken over, which has others', async () => {
  const [ann, bob] = [{ phone: '15550002001' }, { phone: '15550002002' }]
  await store.store(messageItem('wamid.A', { contact: ann }))
  await database.pool.query('ALTER TABLE chat_messages RENAME TO chat_messages_elsewhere')
  expect((await store.store(messageItem('wamid.lost', { contact: ann }))).outcome).toBe('retry')
  await database.pool.query('ALTER TABLE chat_messages_elsewhere RENAME TO chat_messages')
  await database.pool.query(
    'TRUNCATE chat_messages, conversations, contact_identifiers, contacts RESTART IDENTITY CASCADE',
  )
  await createEventStore({ db: database.db }).store(messageItem('wamid.B', { contact: bob }))

  await store.store(messageItem('wamid.C', { contact: ann }))

  const { rows } = await database.pool.query(
    `SELECT m.wa_message_id, c.phone FROM chat_messages m
     JOIN conversations v ON v.id = m.conversation_id JOIN contacts c ON c.id = v.contact_id ORDER BY m.id`,
  )
  expect(rows).toEqual([
    { wa_message_id: 'wamid.B', phone: bob.phone },
    { wa_message_id: 'wamid.C', phone: ann.phone },
  ])
})

test('two stores at once store 2,000 shuffled messages with their duplicates once each', async () => {
  const stores = [store, createEventStore({ db: database.db })]
  const ids = Array.from({ length: 2_000 }, (_, i) => `wamid.${i}`)

  const results = await Promise.all(
    stores.flatMap((one, which) =>
      [...ids]
        .sort(
          (a, b) =>
            (a + which).localeCompare(b + which, undefined, { sensitivity: 'case' }) * (which ? 1 : -1),
        )
        .map((id) => one.store(messageItem(id, { contact: { phone: `1555000${id.length}00${id.at(-1)}` } }))),
    ),
  )

  expect(results.filter(({ outcome }) => outcome === 'stored')).toHaveLength(2_000)
  expect(results.filter(({ outcome }) => outcome === 'duplicate')).toHaveLength(2_000)
  expect(await count('chat_messages')).toBe(2_000)
})

test('a batch that merges contacts stores its messages while others store theirs', async () => {
  const person = { phone: '15550001111', user_id: 'US.222' }
  await outcomesOf([
    messageItem('wamid.A', { contact: { phone: person.phone } }),
    messageItem('wamid.B', { contact: { user_id: person.user_id } }),
    messageItem('wamid.C', { contact: { phone: '15550003333' } }),
  ])
  const lock = await holdLock(
    database,
    `SELECT FROM conversations WHERE id = (SELECT conversation_id FROM chat_messages WHERE wa_message_id = 'wamid.C')
     FOR UPDATE`,
  )

  const batch = outcomesOf([
    messageItem('wamid.D', { contact: person }),
    messageItem('wamid.E', { contact: { phone: '15550003333' } }),
  ])
  await lock.reached()
  const other = createEventStore({ db: database.db })
  const stored = await other.store(messageItem('wamid.F', { contact: { phone: '15550004444' } }))

  expect(stored).toEqual({ outcome: 'stored' })
  await lock.release()
  expect(await batch).toEqual(['stored', 'stored'])
  const { rows } = await database.pool.query('SELECT FROM contacts WHERE merged_into IS NOT NULL')
  expect(rows).toHaveLength(1)
})
