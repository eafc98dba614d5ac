import { describe, expect, test } from 'vitest'
import { eventually } from '../../support/eventually.ts'
import {
  apply,
  audit,
  connect,
  createOldDatabase,
  insertIds,
  LOOKUP_INDEX,
  OLD_TABLE,
  rows,
  snapshot,
} from './old-table.ts'

const CHILDREN =
  'CREATE TABLE attachments (id serial PRIMARY KEY, message_id integer REFERENCES chat_messages (id)'

describe('what moves', () => {
  test('the first row by id stays, every later copy moves', async () => {
    const database = await createOldDatabase(['a', 'b', 'a', 'c', 'b', 'a'])

    const result = await apply(database)

    expect(result).toMatchObject({ outcome: 'done', moved: 3, index: 'built', left_out: [] })
    expect(await rows(database, 'SELECT id, wa_message_id FROM chat_messages ORDER BY id')).toEqual([
      { id: 1, wa_message_id: 'a' },
      { id: 2, wa_message_id: 'b' },
      { id: 4, wa_message_id: 'c' },
    ])
  })

  test('a moved row is kept whole, with the row that was kept, the run and the time', async () => {
    const database = await createOldDatabase(['a', 'a'])
    const [before] = await rows<{ row: unknown }>(
      database,
      'SELECT to_jsonb(m) AS row FROM chat_messages m WHERE id = 2',
    )

    const { run_id } = await apply(database)

    const quarantine = await rows(
      database,
      "SELECT *, moved_at > now() - interval '1 min' AS is_recent FROM chat_messages_duplicates",
    )
    expect(quarantine).toEqual([
      expect.objectContaining({
        run_id,
        source_table: 'chat_messages',
        original_id: '2',
        kept_id: '1',
        wa_message_id: 'a',
        reason: 'duplicate',
        row: before?.row,
        is_recent: true,
      }),
    ])
  })

  test('rows with null and empty ids stay', async () => {
    const database = await createOldDatabase([null, null, '', '', 'a', 'a'])

    const result = await apply(database)

    expect(result).toMatchObject({ outcome: 'done', moved: 1 })
    const left = await rows(database, 'SELECT wa_message_id FROM chat_messages ORDER BY id')
    expect(left.map((row) => row.wa_message_id)).toEqual([null, null, '', '', 'a'])
    await insertIds(database.pool, [null, ''])
  })

  test('ids that differ by case or by a space are different ids', async () => {
    const database = await createOldDatabase(['wamid.a', 'wamid.A', 'wamid.a '])

    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 0, index: 'built' })
  })

  test('an id with more copies than fit into a batch moves in several batches', async () => {
    const database = await createOldDatabase([...Array(100).fill('a'), ...Array(7).fill('b')])

    const result = await apply(database, { batchSize: 10 })

    expect(result).toMatchObject({ outcome: 'done', moved: 105 })
    const kept = await rows(database, 'SELECT DISTINCT kept_id FROM chat_messages_duplicates ORDER BY 1')
    expect(kept).toEqual([{ kept_id: '1' }, { kept_id: '101' }])
  })

  test('another column may say which row is the first', async () => {
    const database = await createOldDatabase(['a', 'a', 'a'])
    await database.pool.query(`UPDATE chat_messages SET created_at = now() - id * interval '1 h'`)

    await apply(database, { orderBy: 'created_at' })

    expect(await rows(database, 'SELECT id FROM chat_messages')).toEqual([{ id: 3 }])
  })

  test('a second run finds nothing to do', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await apply(database)
    const before = await snapshot(database)

    const again = await apply(database)

    expect(again).toMatchObject({ outcome: 'done', moved: 0, index: 'kept' })
    expect(await snapshot(database)).toEqual(before)
  })

  test('afterwards only the unique index and the quarantine have been added', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(`${CHILDREN})`)
    const before = (await snapshot(database)) as { catalogue: { name: string }[] }

    await apply(database)

    const after = (await snapshot(database)) as { catalogue: { name: string }[] }
    const known = new Set(before.catalogue.map(({ name }) => name))
    const added = after.catalogue.map(({ name }) => name).filter((name) => !known.has(name))
    expect(added.sort()).toEqual([
      'chat_messages_duplicates',
      'chat_messages_duplicates_id_seq',
      'chat_messages_duplicates_original_id_idx',
      'chat_messages_duplicates_pkey',
      'chat_messages_duplicates_wa_message_id_idx',
      'idx_chat_messages_wa_message_id_unique',
    ])
  })

  test('the table refuses a duplicate from then on', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await apply(database)

    await expect(insertIds(database.pool, ['a'])).rejects.toThrow('idx_chat_messages_wa_message_id_unique')
    expect(await audit(database)).toMatchObject({ ok: true, rows: 1, quarantined: 1 })
  })
})

describe('foreign keys', () => {
  test('ON DELETE CASCADE deletes no referring row', async () => {
    const database = await createOldDatabase(['a', 'b', 'a'])
    await database.pool.query(`${CHILDREN} ON DELETE CASCADE, url text)`)
    await database.pool.query(
      `INSERT INTO attachments (message_id, url) VALUES (1, 'one'), (3, 'three'), (2, 'two')`,
    )

    const result = await apply(database)

    expect(result.repointed).toEqual({ 'attachments.message_id': 1 })
    expect(await rows(database, 'SELECT message_id, url FROM attachments ORDER BY id')).toEqual([
      { message_id: 1, url: 'one' },
      { message_id: 1, url: 'three' },
      { message_id: 2, url: 'two' },
    ])
  })

  test.each(['SET NULL', 'RESTRICT', 'NO ACTION', 'SET DEFAULT', 'NO ACTION DEFERRABLE INITIALLY DEFERRED'])(
    'ON DELETE %s: the reference follows to the row that stays',
    async (action) => {
      const database = await createOldDatabase(['a', 'a'])
      await database.pool.query(`${CHILDREN} ON DELETE ${action})`)
      await database.pool.query('INSERT INTO attachments (message_id) VALUES (2)')

      await apply(database)

      expect(await rows(database, 'SELECT message_id FROM attachments')).toEqual([{ message_id: 1 }])
    },
  )

  test('a table that refers to itself follows, and the moved row keeps its own reference', async () => {
    const database = await createOldDatabase(['a', 'a', 'b', 'b'])
    await database.pool.query('ALTER TABLE chat_messages ADD reply_to integer REFERENCES chat_messages (id)')
    await database.pool.query('UPDATE chat_messages SET reply_to = 2 WHERE id IN (3, 4)')

    const result = await apply(database)

    expect(result.outcome).toBe('done')
    expect(await rows(database, 'SELECT id, reply_to FROM chat_messages ORDER BY id')).toEqual([
      { id: 1, reply_to: null },
      { id: 3, reply_to: 1 },
    ])
    const [moved] = await rows(database, `SELECT "row" FROM chat_messages_duplicates WHERE original_id = '4'`)
    expect(moved?.row).toMatchObject({ reply_to: 2 })
  })

  test('several tables, a partitioned one and one in another schema among them', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(`
      CREATE SCHEMA crm;
      CREATE TABLE crm."Note" (id serial PRIMARY KEY, "messageId" integer REFERENCES chat_messages (id));
      CREATE TABLE events (message_id integer REFERENCES chat_messages (id), day date NOT NULL) PARTITION BY RANGE (day);
      CREATE TABLE events_now PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
      INSERT INTO crm."Note" ("messageId") VALUES (2);
      INSERT INTO events VALUES (2, '2026-05-05')`)

    const result = await apply(database)

    expect(result.repointed).toEqual({ 'crm."Note"."messageId"': 1, 'events.message_id': 1 })
    expect(
      await rows(
        database,
        'SELECT "messageId" AS id FROM crm."Note" UNION ALL SELECT message_id FROM events',
      ),
    ).toEqual([{ id: 1 }, { id: 1 }])
  })

  test('a row stays, and is named, where a unique constraint of the referring table refuses the re-pointing', async () => {
    const database = await createOldDatabase(['a', 'a', 'b', 'b'])
    await database.pool.query(`
      CREATE TABLE reactions (message_id integer REFERENCES chat_messages (id), by text, PRIMARY KEY (message_id, by));
      INSERT INTO reactions VALUES (1, 'Ann'), (2, 'Ann'), (4, 'Ann')`)

    const result = await apply(database)

    expect(result).toMatchObject({ outcome: 'incomplete', moved: 1, index: 'missing' })
    expect(result.left_out).toEqual([{ id: 'a', reason: expect.stringContaining('reactions_pkey') }])
    expect(await rows(database, 'SELECT id FROM chat_messages ORDER BY id')).toEqual([
      { id: 1 },
      { id: 2 },
      { id: 3 },
    ])
    expect(await audit(database)).toMatchObject({
      ok: false,
      duplicates: { groups: 1 },
      leftovers: { triggers: [], indexes: [], hasDiverted: false },
    })
  })

  test('once the obstacle is gone, the same command finishes', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(`
      CREATE TABLE reactions (message_id integer PRIMARY KEY REFERENCES chat_messages (id));
      INSERT INTO reactions VALUES (1), (2)`)
    await apply(database)
    await database.pool.query('DELETE FROM reactions WHERE message_id = 2')

    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 1, index: 'built' })
  })

  test('rows are locked before references move, so a referring row that is written meanwhile is not deleted', async () => {
    const database = await createOldDatabase(['a', 'a'])
    // Holds the run in the middle of its transaction, after it has re-pointed and before it deletes.
    await database.pool.query(`
      ${LOOKUP_INDEX};
      ${CHILDREN} ON DELETE CASCADE);
      CREATE INDEX ON attachments (message_id);
      INSERT INTO attachments (message_id) VALUES (2);
      CREATE TABLE gate (is_open boolean);
      CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NULL; END $$;
      CREATE TRIGGER gate AFTER UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION wait_at_gate()`)
    const result = apply(database)
    const waits = (event: string) => async () => {
      const found = await rows(
        database,
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND ${event}`,
      )
      expect(found).toHaveLength(1)
    }
    await eventually(waits(`wait_event = 'PgSleep'`))

    const child = database.pool.query('INSERT INTO attachments (message_id) VALUES (2)')
    await eventually(waits(`wait_event_type = 'Lock' AND query LIKE 'INSERT INTO attachments%'`))
    await database.pool.query('INSERT INTO gate VALUES (true)')
    await child

    expect(await result).toMatchObject({ outcome: 'done', moved: 1 })
    expect(await rows(database, 'SELECT message_id FROM attachments')).toEqual([
      { message_id: 1 },
      { message_id: 1 },
    ])
  })

  test('a reference over two columns follows within its tenant, and never moves to another tenant', async () => {
    const database = await createOldDatabase(
      [],
      `CREATE TABLE chat_messages (tenant integer, id integer, wa_message_id text, PRIMARY KEY (id), UNIQUE (tenant, id));
       ALTER TABLE chat_messages ADD content text;
       CREATE TABLE notes (tenant integer, message_id integer, FOREIGN KEY (tenant, message_id) REFERENCES chat_messages (tenant, id));
       INSERT INTO chat_messages (tenant, id, wa_message_id) VALUES (1, 1, 'a'), (1, 2, 'a'), (1, 3, 'b'), (2, 4, 'b');
       INSERT INTO notes VALUES (1, 2), (2, 4)`,
    )

    const result = await apply(database)

    expect(result).toMatchObject({ outcome: 'incomplete', moved: 1 })
    expect(result.left_out).toEqual([{ id: 'b', reason: expect.stringContaining('tenant') }])
    expect(await rows(database, 'SELECT * FROM notes ORDER BY tenant')).toEqual([
      { tenant: 1, message_id: 1 },
      { tenant: 2, message_id: 4 },
    ])
  })
})

describe('--merge', () => {
  const withMore = `${OLD_TABLE.slice(0, -1)}, media_url text, ticket integer UNIQUE, tags text[])`

  test('without it the row that stays is not touched', async () => {
    const database = await createOldDatabase(['a', 'a'], withMore)
    await database.pool.query(`UPDATE chat_messages SET media_url = 'u' WHERE id = 2`)

    await apply(database)

    expect(await rows(database, 'SELECT media_url FROM chat_messages')).toEqual([{ media_url: null }])
  })

  test('fills what the first row lacks from the first later copy that has it, and changes nothing else', async () => {
    const database = await createOldDatabase(['a', 'a', 'a', 'b', 'b'], withMore)
    await database.pool.query(`
      UPDATE chat_messages SET content = '', media_url = NULL WHERE id = 1;
      UPDATE chat_messages SET content = 'second', tags = '{x,y}' WHERE id = 2;
      UPDATE chat_messages SET content = 'third', media_url = 'u', tags = '{z}' WHERE id = 3`)

    await apply(database, { fillsGaps: true })

    expect(
      await rows(database, 'SELECT id, content, media_url, tags FROM chat_messages ORDER BY id'),
    ).toEqual([
      { id: 1, content: 'second', media_url: 'u', tags: ['x', 'y'] },
      { id: 4, content: 'row 4', media_url: null, tags: null },
    ])
  })

  test('a unique value can move to the kept row', async () => {
    const database = await createOldDatabase(['a', 'a'], withMore)
    await database.pool.query('UPDATE chat_messages SET ticket = 7 WHERE id = 2')

    expect(await apply(database, { fillsGaps: true })).toMatchObject({ outcome: 'done' })
    expect(await rows(database, 'SELECT id, ticket FROM chat_messages')).toEqual([{ id: 1, ticket: 7 }])
  })

  test('a row without gaps is not written', async () => {
    const database = await createOldDatabase(['a', 'a'], withMore)
    const [before] = await rows(database, 'SELECT xmin::text FROM chat_messages WHERE id = 1')

    await apply(database, { fillsGaps: true })

    expect(await rows(database, 'SELECT xmin::text FROM chat_messages WHERE id = 1')).toEqual([before])
  })
})

describe('rows that cannot move', () => {
  test('a trigger that keeps rows from being deleted leaves them where they are', async () => {
    const database = await createOldDatabase(['a', 'a', 'b', 'b'])
    await database.pool.query(`
      CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF OLD.id = 2 THEN RETURN NULL; END IF; RETURN OLD; END $$;
      CREATE TRIGGER keep BEFORE DELETE ON chat_messages FOR EACH ROW EXECUTE FUNCTION keep()`)

    const result = await apply(database)

    expect(result).toMatchObject({ outcome: 'incomplete', moved: 1 })
    expect(result.left_out).toEqual([{ id: 'a', reason: expect.stringContaining('trigger') }])
    expect(await rows(database, 'SELECT original_id FROM chat_messages_duplicates')).toEqual([
      { original_id: '4' },
    ])
  })

  test.each(['P0001', '45000', 'P0004'])(
    'a trigger that raises %s on delete leaves its row where it is, and no other',
    async (code) => {
      const database = await createOldDatabase(['a', 'a', 'b', 'b'])
      await database.pool.query(`
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF OLD.id = 2 THEN RAISE 'nothing is deleted here' USING ERRCODE = '${code}'; END IF; RETURN OLD; END $$;
        CREATE TRIGGER keep BEFORE DELETE ON chat_messages FOR EACH ROW EXECUTE FUNCTION keep()`)

      const result = await apply(database)

      expect(result).toMatchObject({ outcome: 'incomplete', moved: 1 })
      expect(result.left_out).toEqual([{ id: 'a', reason: 'nothing is deleted here' }])
    },
  )

  test('a table that refuses every update is refused before anything moves, with the reason', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(`
      CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'messages do not change'; END $$;
      CREATE TRIGGER keep BEFORE UPDATE ON chat_messages FOR EACH ROW EXECUTE FUNCTION keep()`)

    await expect(apply(database)).rejects.toThrow(
      /\(messages do not change\).*take away what stands against it/,
    )

    expect(await rows(database, 'SELECT id FROM chat_messages')).toHaveLength(2)
  })

  test('a row that another transaction has locked is left until it is free', async () => {
    const database = await createOldDatabase(['a', 'a', 'b', 'b'])
    await database.pool.query(LOOKUP_INDEX)
    const writer = await connect(database)
    await writer.query('BEGIN')
    await writer.query('SELECT FROM chat_messages WHERE id = 2 FOR UPDATE')
    const { promise: isWaiting, resolve } = Promise.withResolvers<void>()

    const result = apply(database, {
      onProgress: ({ details }) => {
        if (details?.includes('row locks')) resolve()
      },
    })
    await isWaiting
    const [moved] = await rows(database, 'SELECT original_id FROM chat_messages_duplicates')
    await writer.query(`UPDATE chat_messages SET content = 'changed' WHERE id = 2`)
    await writer.query('COMMIT')

    expect(moved).toEqual({ original_id: '4' })
    expect(await result).toMatchObject({ outcome: 'done', moved: 2 })
    const [row] = await rows(database, `SELECT "row" FROM chat_messages_duplicates WHERE original_id = '2'`)
    expect(row?.row).toMatchObject({ content: 'changed' })
  })

  test('a transaction that stays open delays only the run, which names it', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(LOOKUP_INDEX)
    const idle = await connect(database)
    await idle.query(`SET application_name = 'forgotten session'`)
    await idle.query('BEGIN')
    await idle.query(`INSERT INTO chat_messages (wa_message_id) VALUES ('c')`)
    const writer = await connect(database)
    const waits: string[] = []

    const result = apply(database, {
      onProgress: ({ details }) => {
        if (details) waits.push(details)
      },
    })
    await eventually(() => expect(waits.join()).toContain('forgotten session'))
    for (let n = 0; n < 20; n++)
      await writer.query(`INSERT INTO chat_messages (wa_message_id) VALUES ($1)`, [`w${n}`])
    await idle.query('COMMIT')

    expect(await result).toMatchObject({ outcome: 'done', moved: 1 })
  })
})
