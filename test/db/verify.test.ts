import { describe, expect, test } from 'vitest'
import { queryWithClient } from '../../src/db/any-table/query.ts'
import { auditTable, verifyDatabase } from '../../src/db/verify.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/postgres.ts'

const NAME = 'idx_chat_messages_wa_message_id_unique'

describe('the quick check', () => {
  test('passes on a migrated database', async () => {
    const { db } = await createTestDatabase()

    expect(await verifyDatabase(db)).toMatchObject({
      ok: true,
      problems: [],
      index: { name: NAME, exists: true, is_valid: true, is_unique: true, has_right_predicate: true },
    })
  })

  test.each([
    ['missing', `DROP INDEX ${NAME}`, /the unique index .* is missing; run: npx wa-ingest dedupe --apply/],
    [
      'INVALID',
      `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '${NAME}'::regclass`,
      /is INVALID, left by a build that failed; run: npx wa-ingest dedupe --apply/,
    ],
    [
      'not unique',
      `DROP INDEX ${NAME}; CREATE INDEX ${NAME} ON chat_messages (wa_message_id) WHERE wa_message_id IS NOT NULL AND wa_message_id <> ''`,
      /has another definition: CREATE INDEX .*--replace-index/,
    ],
    [
      'without its predicate',
      `DROP INDEX ${NAME}; CREATE UNIQUE INDEX ${NAME} ON chat_messages (wa_message_id)`,
      /has another definition/,
    ],
    [
      'without its table',
      'ALTER TABLE chat_messages RENAME TO other',
      /there is no table chat_messages; run: npx wa-ingest migrate/,
    ],
  ])('an index that is %s', async (_what, statement, problem) => {
    const { db, pool } = await createTestDatabase()
    await pool.query(statement)

    const verification = await verifyDatabase(db)

    expect(verification.ok).toBe(false)
    expect(verification.problems).toEqual([expect.stringMatching(problem)])
  })

  test('waits for a lock on the whole table no longer than it is told to', async () => {
    const { db, pool } = await createTestDatabase()
    const locker = await pool.connect()
    try {
      await locker.query('BEGIN; LOCK TABLE chat_messages IN ACCESS EXCLUSIVE MODE')

      const verification = verifyDatabase(db, { lockTimeoutMs: 50 })

      // Some versions look at the table's index without a lock on the table.
      await verification.then(
        ({ ok }) => expect(ok).toBe(true),
        (err) => expect(err.code).toBe('55P03'),
      )
    } finally {
      await locker.query('ROLLBACK')
      locker.release()
    }
  })
})

describe('the audit', () => {
  test('counts rows with and without an id, duplicates, and the quarantine, and shows the latest', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query(`
      CREATE TABLE chat_messages (id serial PRIMARY KEY, wa_message_id text, content text);
      INSERT INTO chat_messages (wa_message_id, content)
        VALUES ('a', 'one'), ('a', 'two'), ('a', 'three'), ('b', 'b'), ('b', 'b'), (NULL, 'none'), ('', 'empty')`)

    const audit = await auditOf(database)

    expect(audit).toMatchObject({
      ok: false,
      rows: 7,
      with_id: 5,
      without_id: 2,
      duplicates: { groups: 2, rows: 3, examples: ['a', 'b'] },
      quarantined: 0,
      run_at_work: false,
    })
    expect(audit.latest.slice(0, 2)).toEqual([
      { id: 7, wa_message_id: '', content: 'empty' },
      { id: 6, wa_message_id: null, content: 'none' },
    ])
    expect(audit.problems).toEqual([
      expect.stringContaining('missing'),
      '2 ids of chat_messages are there more than once; run: npx wa-ingest dedupe --apply',
    ])
  })

  test('names the table and the column in the command that repairs', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query('CREATE TABLE "Message" (id serial PRIMARY KEY, wa_sid text)')

    const audit = await auditOf(database, { table: '"Message"', column: 'wa_sid' })

    expect(audit.problems[0]).toContain(
      `run: npx wa-ingest dedupe --table '"Message"' --column wa_sid --apply`,
    )
  })

  test('passes on an empty database that is migrated', async () => {
    expect(await auditOf(await createTestDatabase())).toMatchObject({
      ok: true,
      problems: [],
      rows: 0,
      latest: [],
    })
  })
})

async function auditOf(
  { pool }: TestDatabase,
  options = { table: 'chat_messages', column: 'wa_message_id' },
) {
  const client = await pool.connect()
  try {
    return await auditTable(queryWithClient(client), options)
  } finally {
    client.release()
  }
}
