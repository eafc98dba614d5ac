import { beforeAll, describe, expect, test } from 'vitest'
import { verifyDatabase } from '../../../src/db/any-table/message-index.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { assertSchemaIsCurrent, migrateToLatest } from '../../../src/db/migrate.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { cloneDatabase, createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { adopt, connectAnew, createOldChat, readShape, SEED } from './old-chat.ts'

const CONVERSATIONS = `CREATE TABLE conversations (
  id serial PRIMARY KEY, phone varchar(20), name text, created_at timestamp DEFAULT now())`
const PEOPLE = `INSERT INTO conversations (phone, name) VALUES ('+1 555 000 1234', 'Ann'), ('15550005678', 'Bob')`
const MESSAGES = `INSERT INTO chat_messages (conversation_id, wa_message_id, content, created_at) VALUES
  (1, 'wamid.A', 'one', '2026-01-01 10:00'), (1, 'wamid.B', 'two', '2026-01-02 10:00'),
  (2, 'wamid.C', 'three', '2026-01-03 10:00'), (1, NULL, 'four', '2026-01-04 10:00'), (2, '', 'five', '2026-01-05 10:00')`

/** SEED, CONVERSATIONS, PEOPLE and MESSAGES, taken over. Made once and cloned by tests. */
let takenOver: TestDatabase

beforeAll(async () => {
  takenOver = await createOldChat(SEED, CONVERSATIONS, PEOPLE, MESSAGES)
  await adopt(takenOver)
})

describe('the table of the old system', () => {
  test('becomes what a new database has: every column, constraint and index', async () => {
    const [old, fresh] = await Promise.all([cloneDatabase(takenOver), createTestDatabase()])

    const [adopted, wanted] = await Promise.all([readShape(old), readShape(fresh)])
    expect(adopted.columns).toEqual(expect.arrayContaining(wanted.columns))
    expect(adopted.constraints).toEqual(expect.arrayContaining(wanted.constraints))
    expect(adopted.indexes).toEqual(expect.arrayContaining(wanted.indexes))
    expect(adopted.sequences).toEqual(expect.arrayContaining(wanted.sequences))
    await assertSchemaIsCurrent(old.db)
    expect(await verifyDatabase(old.db)).toMatchObject({ ok: true })
  })

  test('keeps its ids, its data and its extra columns', async () => {
    const old = await createOldChat(
      SEED,
      `ALTER TABLE chat_messages ADD agent_note text DEFAULT 'none', ADD score numeric(5, 2), ADD tags text[]`,
      MESSAGES,
      `UPDATE chat_messages SET score = 1.25, tags = '{a,b}' WHERE id = 2`,
    )
    const before = await old.pool.query(
      `SELECT to_jsonb(m) - 'conversation_id' - 'created_at' AS row FROM chat_messages m ORDER BY id`,
    )

    await adopt(old)

    const after = await old.pool.query('SELECT to_jsonb(m) AS row FROM chat_messages m ORDER BY id')
    expect(after.rows.map(({ row }) => row)).toEqual(
      before.rows.map(({ row }) => expect.objectContaining(row)),
    )
    const { rows } = await old.pool.query('SELECT conversation_id, created_at FROM chat_messages ORDER BY id')
    expect(rows.map((row) => row.conversation_id)).toEqual(['1', '1', '2', '1', '2'])
    expect(rows[0].created_at.toISOString()).toMatch(/^2026-01-01T10:00/)
  })

  test.each([
    [
      'only an id and a text',
      'CREATE TABLE chat_messages (id bigint PRIMARY KEY, content varchar(500))',
      'INSERT INTO chat_messages VALUES (7, $$x$$)',
    ],
    [
      'nothing but the id',
      'CREATE TABLE chat_messages (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)',
      'INSERT INTO chat_messages DEFAULT VALUES',
    ],
    [
      'no primary key',
      'CREATE TABLE chat_messages (id int, wa_message_id text, content text)',
      `INSERT INTO chat_messages VALUES (3, 'a', 'x'), (4, 'b', 'y')`,
    ],
    [
      'a smallint id and enumerated types',
      `CREATE TYPE kind AS ENUM ('text', 'image'); CREATE TABLE chat_messages (id smallserial PRIMARY KEY, wa_message_id varchar, message_type kind DEFAULT 'text', content json)`,
      `INSERT INTO chat_messages (wa_message_id, content) VALUES ('a', '{"b": 1}')`,
    ],
    ['no rows', SEED, 'SELECT 1'],
    [
      'times with a zone already',
      `CREATE TABLE chat_messages (id bigserial PRIMARY KEY, conversation_id bigint NOT NULL, wa_message_id text, content text, message_type text NOT NULL, created_at timestamptz(3) NOT NULL DEFAULT now())`,
      `INSERT INTO chat_messages (conversation_id, message_type) VALUES (9, 'text')`,
    ],
  ])('with %s', async (_what, table, rows) => {
    const old = await createOldChat(table, rows)
    const { rows: before } = await old.pool.query('SELECT count(*)::int FROM chat_messages')

    await adopt(old)

    expect((await old.pool.query('SELECT count(*)::int FROM chat_messages')).rows).toEqual(before)
    expect(await writeBatch(old.db, [messageItem('wamid.NEW')])).toEqual(['stored'])
    expect(await verifyDatabase(old.db)).toMatchObject({ ok: true })
  })

  test('gives new ids after those that were copied in', async () => {
    const old = await createOldChat(
      SEED,
      `INSERT INTO chat_messages (id, content) VALUES (512, 'x'), (513, 'y')`,
    )

    await adopt(old)
    await writeBatch(old.db, [messageItem('wamid.NEW')])

    const { rows } = await old.pool.query(`SELECT id FROM chat_messages WHERE wa_message_id = 'wamid.NEW'`)
    expect(Number(rows[0]?.id)).toBeGreaterThan(513)
  })

  test('is adopted once when two processes adopt it at the same time', async () => {
    const old = await createOldChat(SEED, MESSAGES)

    const results = await Promise.all([adopt(old), adopt(old)])

    expect(results.filter(({ adopted }) => adopted !== undefined)).toHaveLength(1)
    expect(await migrateToLatest(old.db)).toEqual({ applied: [] })
  })

  test('is not changed by a start of the service, so that the operator decides', async () => {
    const old = await createOldChat(SEED, MESSAGES)
    const before = await readShape(old)

    await expect(migrateToLatest(old.db)).rejects.toThrow(
      'the database has tables of another system (chat_messages); to take them over run: npx wa-ingest migrate',
    )
    expect(await readShape(old)).toEqual(before)
  })

  test('is not changed by a dry run', async () => {
    const old = await createOldChat(SEED, MESSAGES)
    const before = await readShape(old)

    const { adopted } = await adopt(old, { isDryRun: true })

    expect(adopted).toMatchObject({ tables: ['chat_messages'], messages: 5 })
    expect(await readShape(old)).toEqual(before)
  })
})

describe('the service on it', () => {
  test('recognizes an old message: a redelivery adds no second row', async () => {
    const old = await cloneDatabase(takenOver)

    const outcomes = await writeBatch(old.db, [
      messageItem('wamid.A', { content: 'as the provider has it' }),
      messageItem('wamid.NEW'),
    ])

    expect(outcomes).toEqual(['merged', 'stored'])
    const { rows } = await old.pool.query(
      `SELECT id, content FROM chat_messages WHERE wa_message_id = 'wamid.A'`,
    )
    expect(rows).toEqual([{ id: '1', content: 'as the provider has it' }])
  })

  test('stores new messages in the conversation with that phone', async () => {
    const old = await cloneDatabase(takenOver)

    await writeBatch(old.db, [
      messageItem('wamid.NEW', { contact: { phone: '15550001234', user_id: 'US.1' } }),
    ])

    const { rows } = await old.pool.query(
      `SELECT conversation_id FROM chat_messages WHERE wa_message_id = 'wamid.NEW'`,
    )
    expect(rows).toEqual([{ conversation_id: '1' }])
  })

  test('stores new messages in the latest conversation where a person had several', async () => {
    const old = await createOldChat(
      SEED,
      CONVERSATIONS,
      `INSERT INTO conversations (phone) VALUES ('15550001234'), ('+15550001234'), ('15550001234')`,
      `INSERT INTO chat_messages (conversation_id, content, created_at) VALUES (1, 'x', '2026-01-01'), (2, 'y', '2026-02-01')`,
    )
    await adopt(old)

    await writeBatch(old.db, [messageItem('wamid.NEW')])

    const { rows } = await old.pool.query(
      `SELECT conversation_id FROM chat_messages WHERE wa_message_id = 'wamid.NEW'`,
    )
    expect(rows).toEqual([{ conversation_id: '2' }])
  })

  test('recognizes a redelivery also where the business number was not known', async () => {
    const old = await createOldChat(SEED, MESSAGES)
    await adopt(old, { numbers: {} })

    expect(await writeBatch(old.db, [messageItem('wamid.A'), messageItem('wamid.A')])).toEqual([
      'merged',
      'duplicate',
    ])
  })

  test('applies statuses to old messages', async () => {
    const old = await createOldChat(
      SEED,
      `ALTER TABLE chat_messages ADD from_me boolean`,
      MESSAGES,
      `UPDATE chat_messages SET from_me = id = 2`,
    )
    await adopt(old)

    await writeBatch(old.db, [statusItem('wamid.B', 'read')])

    const { rows } = await old.pool.query('SELECT direction, status FROM chat_messages ORDER BY id LIMIT 2')
    expect(rows).toEqual([
      { direction: 'inbound', status: null },
      { direction: 'outbound', status: 'read' },
    ])
  })

  test('counts old messages as read', async () => {
    const old = await cloneDatabase(takenOver)

    const { rows } = await old.pool.query('SELECT id, last_read_message_id FROM conversations ORDER BY id')
    expect(rows).toEqual([
      { id: '1', last_read_message_id: '4' },
      { id: '2', last_read_message_id: '5' },
    ])
  })

  test('does not keep the old system from inserting messages', async () => {
    const old = await cloneDatabase(takenOver)

    await old.pool.query(
      `INSERT INTO chat_messages (conversation_id, wa_message_id, content) VALUES (1, 'wamid.LATE', 'x')`,
    )

    const { rows } = await old.pool.query(
      `SELECT direction, source, provider FROM chat_messages WHERE wa_message_id = 'wamid.LATE'`,
    )
    expect(rows).toEqual([{ direction: 'inbound', source: 'backfill', provider: 'meta' }])
  })
})

describe('columns with names of the old system', () => {
  test.each([
    ['a flag', 'from_me boolean', `CASE WHEN id = 1 THEN true END`],
    ['a flag the other way round', 'is_incoming boolean', `id <> 1`],
    ['a sender', 'sender_type varchar(20)', `CASE WHEN id = 1 THEN 'AGENT' ELSE 'customer' END`],
    ['a role', 'role text', `CASE WHEN id = 1 THEN 'bot' ELSE 'user' END`],
  ])('%s says what the business sent', async (_what, column, value) => {
    const old = await createOldChat(
      SEED,
      `ALTER TABLE chat_messages ADD ${column}`,
      MESSAGES,
      `UPDATE chat_messages SET ${column.split(' ')[0]} = ${value}`,
    )

    const { adopted } = await adopt(old)

    const { rows } = await old.pool.query(`SELECT id FROM chat_messages WHERE direction = 'outbound'`)
    expect(rows).toEqual([{ id: '1' }])
    expect(adopted?.notes.join()).toContain(`taken from chat_messages.${column.split(' ')[0]}`)
  })

  test('without such a column a condition says it; without a condition all count as received, and a note says so', async () => {
    const [told, untold] = [await createOldChat(SEED, MESSAGES), await createOldChat(SEED, MESSAGES)]

    await adopt(told, { outboundWhen: `content IN ('one', 'three') AND conversation_id = 1` })
    const { adopted } = await adopt(untold)

    const { rows } = await told.pool.query(`SELECT id FROM chat_messages WHERE direction = 'outbound'`)
    expect(rows).toEqual([{ id: '1' }])
    expect(adopted?.notes.join()).toContain('all count as received')
  })

  test('the id says which provider it is', async () => {
    const sid = `SM${'0123456789abcdef'.repeat(2)}`
    const old = await createOldChat(
      SEED,
      MESSAGES,
      `INSERT INTO chat_messages (conversation_id, wa_message_id, content) VALUES (8, '${sid}', 't')`,
    )

    await adopt(old)

    const { rows } = await old.pool.query(
      `SELECT m.provider, c.provider AS of_conversation, c.business_number FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id WHERE wa_message_id = $1`,
      [sid],
    )
    expect(rows).toEqual([{ provider: 'twilio', of_conversation: 'twilio', business_number: '' }])
  })

  test('the phone may be one foreign key away, in the messages, or in the column of --phone-column', async () => {
    const away = await createOldChat(
      'CREATE TABLE customers (id serial PRIMARY KEY, mobile text, full_name text)',
      `INSERT INTO customers (mobile, full_name) VALUES ('+1 555 000 1234', 'Ann')`,
      'CREATE TABLE conversations (id serial PRIMARY KEY, customer_id integer REFERENCES customers (id))',
      'INSERT INTO conversations (customer_id) VALUES (1)',
      SEED,
      MESSAGES,
    )
    const inside = await createOldChat(
      SEED,
      'ALTER TABLE chat_messages ADD from_number text, ADD from_me boolean',
      MESSAGES,
      `UPDATE chat_messages SET from_me = (id = 2), from_number = CASE WHEN id = 2 THEN '15559990000' ELSE '15550001234' END`,
    )
    const given = await createOldChat(
      SEED,
      'ALTER TABLE chat_messages ADD peer text',
      MESSAGES,
      `UPDATE chat_messages SET peer = '15550001234'`,
    )

    await Promise.all([adopt(away), adopt(inside), adopt(given, { phoneColumn: 'chat_messages.peer' })])

    for (const { pool } of [away, inside, given]) {
      const { rows } = await pool.query(
        `SELECT c.phone FROM conversations v JOIN contacts c ON c.id = v.contact_id WHERE v.id = 1`,
      )
      expect(rows).toEqual([{ phone: '15550001234' }])
    }
    const { rows } = await away.pool.query('SELECT name FROM contacts WHERE phone IS NOT NULL')
    expect(rows).toEqual([{ name: 'Ann' }])
  })
})

describe('what is in the way', () => {
  test('is renamed with its content, once the operator allows it', async () => {
    const old = await createOldChat(
      'CREATE TABLE contacts (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), phone text NOT NULL)',
      `INSERT INTO contacts (phone) VALUES ('15550001234')`,
      'CREATE TABLE conversations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), contact_id uuid REFERENCES contacts (id))',
      'INSERT INTO conversations (contact_id) SELECT id FROM contacts',
      `CREATE TABLE chat_messages (id serial PRIMARY KEY, conversation_id uuid NOT NULL REFERENCES conversations (id),
         wa_message_id text, content text, direction varchar(10) NOT NULL, error text, source text DEFAULT 'import')`,
      `INSERT INTO chat_messages (conversation_id, wa_message_id, content, direction, error)
         SELECT id, 'wamid.' || n, 'x', CASE n WHEN 1 THEN 'in' ELSE 'out' END, 'oops' FROM conversations, generate_series(1, 2) n`,
    )
    await expect(adopt(old)).rejects.toThrow(
      'to rename what is in the way to old_…, with all that is in it, run: npx wa-ingest migrate --rename-old',
    )

    const { adopted } = await adopt(old, { renameOld: true })

    expect(adopted?.renamed.sort()).toEqual([
      'chat_messages.conversation_id',
      'chat_messages.direction',
      'chat_messages.error',
      'chat_messages.source',
      'contacts',
      'conversations',
    ])
    const { rows } = await old.pool.query(
      `SELECT m.direction, m.old_direction, m.old_error, m.error, m.old_source, m.source, p.phone,
         m.old_conversation_id = o.id AS is_same
       FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id JOIN contacts p ON p.id = c.contact_id
       JOIN wa_ingest_adopted_conversations a ON a.conversation_id = c.id JOIN old_conversations o ON o.id::text = a.old_key
       ORDER BY m.id`,
    )
    expect(rows).toEqual([
      {
        direction: 'inbound',
        old_direction: 'in',
        old_error: 'oops',
        error: null,
        old_source: 'import',
        source: 'backfill',
        phone: '15550001234',
        is_same: true,
      },
      {
        direction: 'outbound',
        old_direction: 'out',
        old_error: 'oops',
        error: null,
        old_source: 'import',
        source: 'backfill',
        phone: '15550001234',
        is_same: true,
      },
    ])
    expect(await writeBatch(old.db, [messageItem('wamid.1'), messageItem('wamid.NEW')])).toEqual([
      'merged',
      'stored',
    ])
  })

  test('conversation ids that are phone numbers become the phones of the contacts', async () => {
    const old = await createOldChat(
      'CREATE TABLE chat_messages (id serial PRIMARY KEY, conversation_id text, content text)',
      `INSERT INTO chat_messages (conversation_id, content) VALUES ('15550001234@c.us', 'a'), ('15550005678', 'b'), ('a group', 'c'), (NULL, 'd')`,
    )

    const { adopted } = await adopt(old, { renameOld: true })

    expect(adopted).toMatchObject({ conversations: 4, conversations_with_phone: 2 })
    const { rows } = await old.pool.query(
      `SELECT m.content, p.phone, p.name FROM chat_messages m JOIN conversations c ON c.id = m.conversation_id JOIN contacts p ON p.id = c.contact_id ORDER BY m.id`,
    )
    expect(rows).toEqual([
      { content: 'a', phone: '15550001234', name: null },
      { content: 'b', phone: '15550005678', name: null },
      { content: 'c', phone: null, name: 'a group' },
      { content: 'd', phone: null, name: null },
    ])
  })

  test('unknown words for the direction need a condition', async () => {
    const old = await createOldChat(
      SEED,
      `ALTER TABLE chat_messages ADD direction text`,
      MESSAGES,
      `UPDATE chat_messages SET direction = CASE WHEN id = 1 THEN 'hacia afuera' ELSE 'hacia adentro' END`,
    )

    await expect(adopt(old, { renameOld: true })).rejects.toThrow(
      /chat_messages.direction \(hacia a.*--outbound-when/,
    )
    await adopt(old, { renameOld: true, outboundWhen: `direction = 'hacia afuera'` })

    const { rows } = await old.pool.query(`SELECT id FROM chat_messages WHERE direction = 'outbound'`)
    expect(rows).toEqual([{ id: '1' }])
  })
})

describe('an adoption that is stopped', () => {
  const statements = [
    SEED,
    CONVERSATIONS,
    PEOPLE,
    MESSAGES,
    `ALTER TABLE chat_messages ADD from_me boolean DEFAULT false`,
  ]
  let straight: unknown

  beforeAll(async () => {
    const database = await createOldChat(...statements)
    await adopt(database)
    straight = await readEverything(database)
  })

  test.each(['columns of chat_messages', 'conversations', 'messages', 'constraints and indexes'])(
    'at %s continues when it is run again, with the same result',
    async (step) => {
      const stopped = await createOldChat(...statements)
      const stop = new AbortController()

      const attempt = adopt(
        stopped,
        { onProgress: (progress) => progress.step === step && stop.abort(new Error('stopped')) },
        stop.signal,
      )
      await expect(attempt).rejects.toThrow('stopped')
      await expect(migrateToLatest(connectAnew(stopped))).rejects.toThrow('npx wa-ingest migrate')
      await adopt(stopped)

      expect(await readEverything(stopped)).toEqual(straight)
    },
  )
})

async function readEverything(database: TestDatabase): Promise<unknown> {
  const messages = await database.pool.query(
    'SELECT id, conversation_id, direction, provider, content, source FROM chat_messages ORDER BY id',
  )
  const conversations = await database.pool.query(
    'SELECT v.id, v.last_read_message_id, p.phone, p.name FROM conversations v JOIN contacts p ON p.id = v.contact_id ORDER BY 1',
  )
  return { shape: await readShape(database), messages: messages.rows, conversations: conversations.rows }
}
