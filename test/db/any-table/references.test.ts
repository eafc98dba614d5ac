/** Rows that refer to a row that moves: none is deleted with it, and none still refers to it. */
import { describe, expect, test } from 'vitest'
import { createEmptyDatabase } from '../../support/postgres.ts'
import {
  apply,
  connect,
  createOldDatabase,
  LOOKUP_INDEX,
  OLD_TABLE,
  rows,
  startHeldRun,
} from '../dedupe/old-table.ts'

const ATTACHMENTS = `CREATE TABLE attachments (id serial, message_id integer REFERENCES chat_messages (id) ON DELETE CASCADE);
  INSERT INTO attachments (message_id) VALUES (2)`

describe('where re-pointing has no effect, ON DELETE CASCADE deletes no referring row', () => {
  test.each([
    [
      'a trigger that swallows the update',
      `CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
       CREATE TRIGGER swallow BEFORE UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION swallow()`,
    ],
    [
      'a trigger that puts the old value back',
      `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.message_id := OLD.message_id; RETURN NEW; END';
       CREATE TRIGGER keep BEFORE UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION keep()`,
    ],
    ['a rule', 'CREATE RULE swallow AS ON UPDATE TO attachments DO INSTEAD NOTHING'],
  ])('%s', async (_what, obstacle) => {
    const database = await createOldDatabase(['a', 'a', 'b', 'b'])
    await database.pool.query(`${ATTACHMENTS}; ${obstacle}`)

    const result = await apply(database)

    expect(result).toMatchObject({ outcome: 'incomplete', moved: 1 })
    expect(result.left_out).toEqual([
      { id: 'a', reason: expect.stringContaining('attachments.message_id still refers to row 2') },
    ])
    expect(await rows(database, 'SELECT message_id FROM attachments')).toEqual([{ message_id: 2 }])
  })
})

test('references to a whole partitioned table follow within the partition that is cleaned', async () => {
  const database = await createEmptyDatabase()
  await database.pool.query(`
    CREATE TABLE messages (id int, day date, wa_id text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE messages_2026 PARTITION OF messages FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE TABLE messages_2027 PARTITION OF messages FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
    CREATE TABLE attachments (message_id int, day date, FOREIGN KEY (message_id, day) REFERENCES messages ON DELETE CASCADE);
    CREATE TABLE reactions (message_id int, day date, FOREIGN KEY (message_id, day) REFERENCES messages ON DELETE CASCADE)
      PARTITION BY RANGE (day);
    CREATE TABLE reactions_2026 PARTITION OF reactions FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO messages VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', 'a'), (3, '2027-01-01', 'a');
    INSERT INTO attachments SELECT id, day FROM messages;
    INSERT INTO reactions VALUES (2, '2026-01-02')`)

  const result = await apply(database, { table: 'messages_2026', column: 'wa_id' })

  expect(result).toMatchObject({ outcome: 'done', moved: 1 })
  expect(await rows(database, 'SELECT message_id FROM attachments ORDER BY 1')).toEqual([
    { message_id: 1 },
    { message_id: 1 },
    { message_id: 3 },
  ])
  expect(await rows(database, 'SELECT message_id FROM reactions')).toEqual([{ message_id: 1 }])
})

test('a unique constraint that is checked at the commit leaves its id as it is, and no other', async () => {
  const database = await createOldDatabase(['a', 'a', 'b', 'b'])
  await database.pool.query(`
    CREATE TABLE receipts (message_id integer REFERENCES chat_messages (id) ON DELETE CASCADE,
      UNIQUE (message_id) DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO receipts VALUES (1), (2), (4)`)

  const result = await apply(database)

  expect(result).toMatchObject({ outcome: 'incomplete', moved: 1, left_out: [{ id: 'a' }] })
  expect(await rows(database, 'SELECT message_id FROM receipts ORDER BY 1')).toEqual([
    { message_id: 1 },
    { message_id: 2 },
    { message_id: 3 },
  ])
})

describe('while a run is at work', () => {
  test('a new reference by another unique column than the key becomes one to the row that was kept', async () => {
    const database = await createOldDatabase(
      [],
      `${OLD_TABLE.slice(0, -1)}, public_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE);
       CREATE TABLE notes (message uuid REFERENCES chat_messages (public_id)); CREATE INDEX ON notes (message);
       INSERT INTO chat_messages (wa_message_id) VALUES ('a'), ('a'); ${LOOKUP_INDEX}`,
    )
    const found = await rows<{ public_id: string }>(
      database,
      'SELECT public_id FROM chat_messages ORDER BY id',
    )
    const [kept, moved] = found.map((row) => row.public_id)
    const run = await startHeldRun(database)

    await database.pool.query('INSERT INTO notes VALUES ($1)', [moved])
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1 })
    expect(await rows(database, 'SELECT message FROM notes')).toEqual([{ message: kept }])
  })

  test('a new reference over two columns that would go to another tenant is refused as before', async () => {
    const database = await createOldDatabase(
      [],
      `CREATE TABLE chat_messages (tenant integer, id integer PRIMARY KEY, wa_message_id text, content text, UNIQUE (tenant, id));
       CREATE TABLE notes (tenant integer, message_id integer, FOREIGN KEY (tenant, message_id) REFERENCES chat_messages (tenant, id));
       CREATE INDEX ON notes (tenant, message_id);
       INSERT INTO chat_messages VALUES (1, 1, 'a'), (1, 2, 'a'), (1, 3, 'b'), (2, 4, 'b'); ${LOOKUP_INDEX}`,
    )
    const run = await startHeldRun(database)

    await database.pool.query('INSERT INTO notes VALUES (1, 2)')
    await expect(database.pool.query('INSERT INTO notes VALUES (2, 4)')).rejects.toThrow('foreign key')
    await run.release()
    await run.result

    expect(await rows(database, 'SELECT * FROM notes')).toEqual([{ tenant: 1, message_id: 1 }])
  })

  test('a deferred reference may be written before its message', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(`${LOOKUP_INDEX};
      CREATE TABLE notes (message_id integer REFERENCES chat_messages (id) DEFERRABLE INITIALLY DEFERRED);
      CREATE INDEX ON notes (message_id)`)
    const run = await startHeldRun(database)
    const writer = await connect(database)

    await writer.query('BEGIN')
    await writer.query('INSERT INTO notes VALUES (2), (100)')
    await writer.query(`INSERT INTO chat_messages (id, wa_message_id) VALUES (100, 'a')`)
    await writer.query('COMMIT')
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 2 })
    expect(await rows(database, 'SELECT message_id FROM notes')).toEqual([
      { message_id: 1 },
      { message_id: 1 },
    ])
  })
})
