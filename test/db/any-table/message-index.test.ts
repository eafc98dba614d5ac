import { describe, expect, test } from 'vitest'
import { verifyDatabase } from '../../../src/db/any-table/message-index.ts'
import { createTestDatabase } from '../../support/postgres.ts'

const NAME = 'idx_chat_messages_wa_message_id_unique'

describe('verifyDatabase', () => {
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
