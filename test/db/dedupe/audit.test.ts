import { expect, test } from 'vitest'
import { createEmptyDatabase, createTestDatabase } from '../../support/postgres.ts'
import { audit } from './old-table.ts'

test('counts rows with and without an id, duplicates, and the quarantine, and shows the latest', async () => {
  const database = await createEmptyDatabase()
  await database.pool.query(`
    CREATE TABLE chat_messages (id serial PRIMARY KEY, wa_message_id text, content text);
    INSERT INTO chat_messages (wa_message_id, content)
      VALUES ('a', 'one'), ('a', 'two'), ('a', 'three'), ('b', 'b'), ('b', 'b'), (NULL, 'none'), ('', 'empty')`)

  const found = await audit(database)

  expect(found).toMatchObject({
    ok: false,
    rows: 7,
    with_id: 5,
    without_id: 2,
    duplicates: { groups: 2, rows: 3, examples: ['a', 'b'] },
    quarantined: 0,
    run_at_work: false,
  })
  expect(found.latest.slice(0, 2)).toEqual([
    { id: 7, wa_message_id: '', content: 'empty' },
    { id: 6, wa_message_id: null, content: 'none' },
  ])
  expect(found.problems).toEqual([
    expect.stringContaining('missing'),
    '2 ids of chat_messages are there more than once; run: npx wa-ingest dedupe --apply',
  ])
})

test('names the table and the column in the command that repairs', async () => {
  const database = await createEmptyDatabase()
  await database.pool.query('CREATE TABLE "Message" (id serial PRIMARY KEY, wa_sid text)')

  const found = await audit(database, { table: '"Message"', column: 'wa_sid' })

  expect(found.problems[0]).toContain(`run: npx wa-ingest dedupe --table '"Message"' --column wa_sid --apply`)
})

test('passes on an empty database that is migrated', async () => {
  expect(await audit(await createTestDatabase())).toMatchObject({
    ok: true,
    problems: [],
    rows: 0,
    latest: [],
  })
})
