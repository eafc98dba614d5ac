import { describe, expect, test } from 'vitest'
import type { TestDatabase } from '../../support/postgres.ts'
import {
  apply,
  audit,
  connect,
  createOldDatabase,
  type HeldRun,
  LOOKUP_INDEX,
  rows,
  startHeldRun,
  startRunHeldAtMoving,
} from './old-table.ts'

const INSERT = 'INSERT INTO chat_messages (wa_message_id, content) VALUES ($1, $2) RETURNING id'

/** With an index: a run would be held at building one. */
const ATTACHMENTS = `CREATE TABLE attachments (id serial, message_id integer REFERENCES chat_messages (id) ON DELETE CASCADE);
  CREATE INDEX ON attachments (message_id)`

/** A run whose guard is up, on a table with these ids. */
async function hold(ids: string[], more = ''): Promise<{ database: TestDatabase; run: HeldRun }> {
  const database = await createOldDatabase(ids)
  await database.pool.query(`${LOOKUP_INDEX}; ${more}`)
  return { database, run: await startHeldRun(database) }
}

describe('a duplicate that is written while the index is built', () => {
  test('goes in like any other row, and is moved when the index is there', async () => {
    const { database, run } = await hold(['a', 'b'])
    const writer = await connect(database)

    const inserted = await writer.query(INSERT, ['a', 'again'])
    const other = await writer.query(INSERT, ['c', 'other'])
    await run.release()

    expect(inserted.rows).toEqual([{ id: 3 }])
    expect(other.rows).toEqual([{ id: 4 }])
    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1, index: 'built' })
    expect(await rows(database, 'SELECT id, wa_message_id FROM chat_messages ORDER BY id')).toEqual([
      { id: 1, wa_message_id: 'a' },
      { id: 2, wa_message_id: 'b' },
      { id: 4, wa_message_id: 'c' },
    ])
    const [moved] = await rows(database, 'SELECT original_id, kept_id, "row" FROM chat_messages_duplicates')
    expect(moved).toMatchObject({
      original_id: '3',
      kept_id: '1',
      row: { id: 3, wa_message_id: 'a', content: 'again' },
    })
  })

  test('can be referred to at once, and the reference follows it', async () => {
    const { database, run } = await hold(['a'], ATTACHMENTS)
    const writer = await connect(database)

    await writer.query('BEGIN')
    const { rows: inserted } = await writer.query(INSERT, ['a', 'again'])
    await writer.query('INSERT INTO attachments (message_id) VALUES ($1)', [inserted[0]?.id])
    await writer.query('COMMIT')
    await run.release()

    expect(await run.result).toMatchObject({ repointed: { 'attachments.message_id': 1 } })
    expect(await rows(database, 'SELECT message_id FROM attachments')).toEqual([{ message_id: 1 }])
  })

  test('twice in one statement, twice in one transaction, and by COPY-like inserts: one row stays', async () => {
    const { database, run } = await hold(['a'])
    const writer = await connect(database)

    await writer.query(`INSERT INTO chat_messages (wa_message_id) VALUES ('n'), ('n')`)
    await writer.query('BEGIN')
    await writer.query(INSERT, ['t', '1'])
    await writer.query(INSERT, ['t', '2'])
    await writer.query('COMMIT')
    await writer.query(`INSERT INTO chat_messages (wa_message_id) SELECT 'g' FROM generate_series(1, 50)`)
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 51 })
    const left = await rows(
      database,
      'SELECT wa_message_id, count(*)::int FROM chat_messages GROUP BY 1 ORDER BY 1',
    )
    expect(left.map((row) => [row.wa_message_id, row.count])).toEqual([
      ['a', 1],
      ['g', 1],
      ['n', 1],
      ['t', 1],
    ])
  })

  test('in an import of any size, which takes no more than a part of the room that the server has for locks', async () => {
    const { database, run } = await hold(['a'])
    const writer = await connect(database)

    await writer.query('BEGIN')
    await writer.query(
      `INSERT INTO chat_messages (wa_message_id) SELECT 'import.' || n % 10000 FROM generate_series(1, 12000) n`,
    )
    const [locks] = await rows<{ count: number }>(
      database,
      `SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'`,
    )
    await writer.query('COMMIT')
    await run.release()

    expect(locks?.count).toBeLessThan(2_100)
    expect(await run.result).toMatchObject({ outcome: 'done', moved: 2_000 })
    expect(await audit(database)).toMatchObject({ ok: true, with_id: 10_001, without_id: 0 })
  })

  test('by a writer that writes dates in its own way, where dates are the key', async () => {
    const database = await createOldDatabase(
      [],
      `CREATE TABLE chat_messages (at timestamp PRIMARY KEY, wa_message_id text, content text);
       INSERT INTO chat_messages VALUES ('2026-01-01', 'a'); ${LOOKUP_INDEX}`,
    )
    const run = await startHeldRun(database)
    const writer = await connect(database)

    await writer.query(`SET datestyle = 'SQL, DMY'`)
    await writer.query(`INSERT INTO chat_messages VALUES ('05/02/2026 10:00', 'a')`)
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1 })
    expect(await rows(database, 'SELECT at::date::text FROM chat_messages')).toEqual([{ at: '2026-01-01' }])
  })

  test('by an UPDATE that gives a row an id that is there', async () => {
    const { database, run } = await hold(['a', 'b'])

    await database.pool.query(`UPDATE chat_messages SET wa_message_id = 'a' WHERE id = 2`)
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1 })
    const [moved] = await rows(
      database,
      'SELECT original_id, kept_id, wa_message_id FROM chat_messages_duplicates',
    )
    expect(moved).toEqual({ original_id: '2', kept_id: '1', wa_message_id: 'a' })
  })

  test('two transactions with one new id at a time: neither waits, and the second row moves', async () => {
    const { database, run } = await hold(['a'])
    const [first, second] = [await connect(database), await connect(database)]

    await first.query('BEGIN')
    await first.query(INSERT, ['new', 'first'])
    await second.query(INSERT, ['new', 'second'])
    await first.query('COMMIT')
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1, restored: 0 })
    const left = await rows(database, `SELECT content FROM chat_messages WHERE wa_message_id = 'new'`)
    expect(left).toEqual([{ content: 'first' }])
  })

  test('when the first of two transactions is rolled back, the second row gets its id back', async () => {
    const { database, run } = await hold(['a'])
    const [first, second] = [await connect(database), await connect(database)]

    await first.query('BEGIN')
    await first.query(INSERT, ['new', 'first'])
    await second.query(INSERT, ['new', 'second'])
    await second.query(INSERT, ['new', 'third'])
    await first.query('ROLLBACK')
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1, restored: 1 })
    const left = await rows(database, `SELECT content FROM chat_messages WHERE wa_message_id = 'new'`)
    expect(left).toEqual([{ content: 'second' }])
  })

  test('a row that its writer removes again, or gives another id, is left to the writer', async () => {
    const { database, run } = await hold(['a'])
    await database.pool.query(INSERT, ['a', 'removed'])
    await database.pool.query(INSERT, ['a', 'renamed'])

    await database.pool.query(`DELETE FROM chat_messages WHERE content = 'removed'`)
    await database.pool.query(`UPDATE chat_messages SET wa_message_id = 'r' WHERE content = 'renamed'`)
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 0, restored: 0 })
    const left = await rows(database, 'SELECT wa_message_id FROM chat_messages ORDER BY id')
    expect(left.map((row) => row.wa_message_id)).toEqual(['a', 'r'])
  })

  test('an upsert by primary key keeps its id', async () => {
    const { database, run } = await hold(['a'])

    await database.pool.query(
      `INSERT INTO chat_messages (id, wa_message_id) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET wa_message_id = excluded.wa_message_id, content = 'upserted'`,
    )
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 0 })
    expect(await rows(database, 'SELECT wa_message_id, content FROM chat_messages')).toEqual([
      { wa_message_id: 'a', content: 'upserted' },
    ])
  })

  test('a writer without rights on anything of the run writes as before', async () => {
    const { database, run } = await hold(['a'])
    const role = `writer_${database.name.slice(5, 15)}`
    await database.pool.query(
      `CREATE ROLE ${role}; GRANT INSERT, SELECT ON chat_messages TO ${role}; GRANT USAGE ON SEQUENCE chat_messages_id_seq TO ${role}`,
    )
    const writer = await connect(database)
    await writer.query(`SET ROLE ${role}`)

    await writer.query(INSERT, ['a', 'again'])
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1 })
    await database.pool.query(
      `REVOKE ALL ON chat_messages, chat_messages_id_seq FROM ${role}; DROP ROLE ${role}`,
    )
  })

  test.each([
    ['NOT NULL', 'ALTER TABLE chat_messages ALTER wa_message_id SET NOT NULL'],
    [
      'NOT NULL and unique within its conversation',
      'ALTER TABLE chat_messages ALTER wa_message_id SET NOT NULL; CREATE UNIQUE INDEX ON chat_messages (conversation_id, wa_message_id)',
    ],
    [
      'never empty, by a CHECK',
      `ALTER TABLE chat_messages ADD CHECK (wa_message_id <> '' AND wa_message_id IS NOT NULL)`,
    ],
    [
      'a varchar that is just long enough for it',
      'ALTER TABLE chat_messages ALTER wa_message_id TYPE varchar(20), ALTER wa_message_id SET NOT NULL',
    ],
  ])('where the column is %s', async (_what, constraint) => {
    const database = await createOldDatabase(['wamid.a', 'wamid.b'])
    await database.pool.query(`UPDATE chat_messages SET conversation_id = id; ${LOOKUP_INDEX}; ${constraint}`)
    const run = await startHeldRun(database)

    for (const conversation of [7, 8]) {
      await database.pool.query(
        'INSERT INTO chat_messages (conversation_id, wa_message_id) VALUES ($1, $2)',
        [conversation, 'wamid.a'],
      )
    }
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 2 })
    const moved = await rows(database, `SELECT "row"->>'wa_message_id' AS id FROM chat_messages_duplicates`)
    expect(moved).toEqual([{ id: 'wamid.a' }, { id: 'wamid.a' }])
  })

  test('a column that takes no placeholder is refused before anything moves', async () => {
    const database = await createOldDatabase(['SM01', 'SM01'])
    await database.pool.query(
      `ALTER TABLE chat_messages ALTER wa_message_id SET NOT NULL, ADD CONSTRAINT is_sid CHECK (wa_message_id ~ '^SM..$')`,
    )

    await expect(apply(database)).rejects.toThrow(/is_sid.*take away what stands against it/)
    expect(await rows(database, 'SELECT count(*)::int FROM chat_messages')).toEqual([{ count: 2 }])
    expect(await audit(database)).toMatchObject({ leftovers: { triggers: [], hasDiverted: false } })
  })
})

describe('a reference that is written while rows move', () => {
  test('to a row that has moved leads to the row that was kept', async () => {
    const { database, run } = await hold(['a', 'a', 'a'], ATTACHMENTS)

    await database.pool.query('INSERT INTO attachments (message_id) VALUES (2)')
    await database.pool.query('UPDATE attachments SET message_id = 3')
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 2 })
    expect(await rows(database, 'SELECT message_id FROM attachments')).toEqual([{ message_id: 1 }])
  })

  test('to a row that never was is refused as ever', async () => {
    const { database, run } = await hold(['a', 'a'], ATTACHMENTS)

    await expect(database.pool.query('INSERT INTO attachments (message_id) VALUES (99)')).rejects.toThrow(
      'violates foreign key constraint',
    )
    await run.release()
    await run.result
  })

  test('over two columns, from within the table too', async () => {
    const database = await createOldDatabase(
      [],
      `CREATE TABLE chat_messages (tenant text, n integer, wa_message_id text, reply_tenant text, reply_n integer,
         content text, PRIMARY KEY (n, tenant), UNIQUE (tenant, n),
         FOREIGN KEY (reply_tenant, reply_n) REFERENCES chat_messages (tenant, n));
       CREATE INDEX ON chat_messages (reply_n, reply_tenant);
       ${LOOKUP_INDEX};
       INSERT INTO chat_messages VALUES ('x', 1, 'a'), ('x', 2, 'a')`,
    )
    const run = await startHeldRun(database)

    await database.pool.query(`INSERT INTO chat_messages VALUES ('x', 3, 'c', 'x', 2)`)
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 1 })
    const left = await rows(database, 'SELECT n, reply_n FROM chat_messages ORDER BY n')
    expect(left).toEqual([
      { n: 1, reply_n: null },
      { n: 3, reply_n: 1 },
    ])
    expect(await rows(database, 'SELECT original_id, kept_id FROM chat_messages_duplicates')).toEqual([
      { original_id: '["2", "x"]', kept_id: '["1", "x"]' },
    ])
  })
})

describe('a run that ends early', () => {
  test('stopped by Ctrl-C it takes its guard down, and leaves what is moved moved', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(LOOKUP_INDEX)
    const stop = new AbortController()
    const run = await startHeldRun(database, { signal: stop.signal })
    await database.pool.query(INSERT, ['a', 'during'])

    stop.abort(new Error('stopped'))
    const result = await run.result

    expect(result).toMatchObject({ outcome: 'stopped', moved: 2, index: 'missing' })
    expect(await audit(database)).toMatchObject({
      rows: 1,
      quarantined: 2,
      run_at_work: false,
      leftovers: { triggers: [], hasDiverted: false },
    })
    await run.release()
    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 0, index: 'built' })
  })

  test('killed, its guard does nothing more: duplicates go in as before, and a check says what is left', async () => {
    const { database, run } = await startRunHeldAtMoving(['a', 'a'])
    await database.pool.query(INSERT, ['a', 'during'])

    await killRun(database)
    await expect(run.result).rejects.toThrow()
    await run.release()
    await database.pool.query(INSERT, ['a', 'after'])

    const [after] = await rows(database, `SELECT wa_message_id FROM chat_messages WHERE content = 'after'`)
    expect(after).toEqual({ wa_message_id: 'a' })
    const found = await audit(database)
    expect(found).toMatchObject({ ok: false, run_at_work: false })
    expect(found.problems.join()).toMatch(/a dedupe run was killed and left trigger .*dedupe --apply/)
  })

  test('killed, the next run goes on and finishes everything', async () => {
    const { database, run } = await startRunHeldAtMoving(['a', 'a', 'b'])
    await database.pool.query(INSERT, ['a', 'during'])
    await killRun(database)
    await run.result.catch(() => {})
    await run.release()
    await database.pool.query(INSERT, ['b', 'after'])

    const result = await apply(database)

    expect(result).toMatchObject({ outcome: 'done', moved: 3, index: 'built' })
    expect(await audit(database)).toMatchObject({ ok: true, rows: 3, quarantined: 4 })
    const moved = await rows(database, `SELECT "row"->>'content' AS content FROM chat_messages_duplicates`)
    expect(moved.map((row) => row.content).sort()).toEqual(['after', 'during', 'row 2', 'row 5'])
  })

  test('killed while it builds the index, the next run builds it again', async () => {
    const { database, run } = await hold(['a', 'a'])
    await killRun(database)
    await run.result.catch(() => {})
    await run.release()
    const left = await audit(database)

    const result = await apply(database)

    expect(left.index.fault).toBe('invalid')
    expect(result).toMatchObject({ outcome: 'done', moved: 0, index: 'built' })
  })

  test('a second run on the table is refused while one is at work', async () => {
    const { database, run } = await hold(['a', 'a'])

    await expect(apply(database)).rejects.toThrow(/another run is at work on chat_messages \(process \d+\)/)
    await run.release()
    expect(await run.result).toMatchObject({ outcome: 'done' })
  })

  test('while a run is at work, a check says so and does not call its triggers leftovers', async () => {
    const { database, run } = await hold(['a', 'a'])

    const found = await audit(database)

    expect(found.run_at_work).toBe(true)
    expect(found.problems.join()).not.toContain('killed')
    await run.release()
    await run.result
  })
})

test('a row that was listed by the guard and cannot move becomes what its writer made it', async () => {
  const { database, run } = await startRunHeldAtMoving(
    ['a'],
    `CREATE TABLE reactions (message_id integer PRIMARY KEY REFERENCES chat_messages (id)); INSERT INTO reactions VALUES (1)`,
  )

  const { rows: inserted } = await database.pool.query(INSERT, ['a', 'again'])
  await database.pool.query('INSERT INTO reactions VALUES ($1)', [inserted[0]?.id])
  await run.release()

  expect(await run.result).toMatchObject({ outcome: 'incomplete', index: 'missing' })
  const left = await rows(database, `SELECT wa_message_id FROM chat_messages WHERE wa_message_id <> 'held'`)
  expect(left.map((row) => row.wa_message_id)).toEqual(['a', 'a'])
  expect(await audit(database)).toMatchObject({ leftovers: { triggers: [], hasDiverted: false } })
})

/** As kill -9 of the process does it: its connections are gone from one moment to the next. */
async function killRun(database: TestDatabase): Promise<void> {
  await database.pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
}
