import { expect, test } from 'vitest'
import { apply, createOldDatabase, report, snapshot } from './old-table.ts'

test('says how many ids, rows and rows to move, with the first examples', async () => {
  const ids = [
    'b',
    'a',
    'b',
    ...Array.from({ length: 8 }, (_, n) => [`x${n}`, `x${n}`]).flat(),
    'b',
    null,
    '',
    '',
  ]
  const database = await createOldDatabase(ids)

  const found = await report(database)

  expect(found).toMatchObject({ groups: 9, rows: 19, rows_to_move: 10, key: ['id'] })
  expect(found.examples).toHaveLength(5)
  expect(found.examples[0]).toEqual({ id: 'b', copies: 3, kept: '1', moved: ['3', '20'] })
  expect(found.examples[1]).toEqual({ id: 'x0', copies: 2, kept: '4', moved: ['5'] })
  expect(found.largest).toMatchObject({ id: 'b', copies: 3 })
})

test('shows the first few of an id with thousands of copies', async () => {
  const database = await createOldDatabase(Array(3_000).fill('unknown'))

  const found = await report(database)

  expect(found.largest).toEqual({ id: 'unknown', copies: 3_000, kept: '1', moved: ['2', '3', '4', '5', '6'] })
})

test('changes nothing', async () => {
  const database = await createOldDatabase(['a', 'a', null])
  const before = await snapshot(database)

  await report(database)

  expect(await snapshot(database)).toEqual(before)
})

test('names the columns in which a later copy knows more, and those in which copies differ', async () => {
  const database = await createOldDatabase(['a', 'a', 'b', 'b', 'b', 'c', 'c'])
  await database.pool.query(`
    UPDATE chat_messages SET content = 'same', message_type = NULL, created_at = '2026-01-01';
    UPDATE chat_messages SET content = '' WHERE id = 1;
    UPDATE chat_messages SET message_type = 'image' WHERE id IN (2, 4);
    UPDATE chat_messages SET content = 'other' WHERE id = 7`)

  const found = await report(database)

  expect(found.gaps).toEqual({ content: 1, message_type: 2 })
  expect(found.differences).toEqual({ content: 1 })
})

test('counts the rows that refer to rows to be moved, and those that a unique index will stand against', async () => {
  const database = await createOldDatabase(['a', 'a', 'a', 'b'])
  await database.pool.query(`
    CREATE TABLE attachments (message_id integer REFERENCES chat_messages (id) ON DELETE CASCADE);
    INSERT INTO attachments VALUES (1), (2), (3), (3), (4);
    CREATE TABLE reactions (message_id integer REFERENCES chat_messages (id), by text, UNIQUE (message_id, by));
    INSERT INTO reactions VALUES (1, 'Ann'), (2, 'Ann'), (3, 'Bob'), (3, NULL), (2, NULL), (4, 'Ann')`)

  const found = await report(database)

  expect(found.references).toEqual([
    {
      name: 'attachments.message_id',
      constraint: 'attachments_message_id_fkey',
      on_delete: 'cascade',
      rows: 3,
      conflicts: 0,
      is_indexed: false,
    },
    expect.objectContaining({ name: 'reactions.message_id', rows: 4, conflicts: 1, is_indexed: true }),
  ])
})

test('names the triggers that will fire for a row that moves', async () => {
  const database = await createOldDatabase(['a', 'a'])
  await database.pool.query(`
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
    CREATE TRIGGER on_delete BEFORE DELETE ON chat_messages FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER on_insert BEFORE INSERT ON chat_messages FOR EACH ROW EXECUTE FUNCTION note()`)

  expect(await report(database)).toMatchObject({ delete_triggers: ['on_delete'] })
})

test('after a run there is nothing left to do', async () => {
  const database = await createOldDatabase(['a', 'a'])
  await apply(database)

  expect(await report(database)).toMatchObject({
    groups: 0,
    rows: 0,
    examples: [],
    quarantined: 1,
    obstacles: [],
  })
})
