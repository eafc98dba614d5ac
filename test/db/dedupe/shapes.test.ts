/** Tables of many shapes: the ids of each are made unique, or it is refused with the reason and the next step. */
import { describe, expect, test } from 'vitest'
import { createPool } from '../../../src/db/connect.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { createEmptyDatabase } from '../../support/postgres.ts'
import {
  apply,
  audit,
  connect,
  createOldDatabase,
  LOOKUP_INDEX,
  report,
  rows,
  startHeldRun,
} from './old-table.ts'

describe('tables of other systems', () => {
  test('a Prisma table with capitals, text ids and required columns', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query(`
      CREATE TABLE "Message" (
        "id" text PRIMARY KEY, "wa_sid" text NOT NULL, "body" text, "createdAt" timestamp(3) NOT NULL DEFAULT now()
      );
      CREATE TABLE "Media" ("id" text PRIMARY KEY, "messageId" text NOT NULL REFERENCES "Message" ("id") ON DELETE CASCADE);
      INSERT INTO "Message" VALUES ('c1', 'SM1', 'one'), ('c2', 'SM1', 'two'), ('c3', 'SM2', 'three');
      INSERT INTO "Media" VALUES ('m1', 'c2')`)
    const options = { table: 'Message', column: 'wa_sid' }

    const found = await report(database, options)
    const result = await apply(database, options)

    expect(found).toMatchObject({
      table: '"Message"',
      groups: 1,
      index: { name: 'idx_Message_wa_sid_unique' },
    })
    expect(result).toMatchObject({ outcome: 'done', moved: 1, repointed: { '"Media"."messageId"': 1 } })
    expect(await audit(database, options)).toMatchObject({ ok: true, rows: 2, quarantined: 1 })
    const [moved] = await rows(database, 'SELECT * FROM chat_messages_duplicates')
    expect(moved).toMatchObject({
      source_table: 'Message',
      original_id: 'c2',
      kept_id: 'c1',
      wa_message_id: 'SM1',
    })
  })

  test.each([
    ['app.messages', 'wa_id'],
    ['"app"."messages"', '"wa_id"'],
    ['APP.Messages', 'WA_ID'],
    ['odd."we""ird.table"', 'user'],
    ['odd."we""ird.table"', '"Sp ace"'],
  ])('--table %s --column %s', async (table, column) => {
    const database = await createEmptyDatabase()
    await database.pool.query(`
      CREATE SCHEMA app; CREATE SCHEMA odd;
      CREATE TABLE app.messages (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), wa_id text);
      CREATE TABLE odd."we""ird.table" ("order" bigint PRIMARY KEY, "user" varchar, "Sp ace" text);
      INSERT INTO app.messages (wa_id) VALUES ('a'), ('a');
      INSERT INTO odd."we""ird.table" VALUES (1, 'a', 'x'), (2, 'a', 'x')`)

    expect(await apply(database, { table, column })).toMatchObject({ outcome: 'done', moved: 1 })
    expect(await apply(database, { table, column })).toMatchObject({ outcome: 'done', moved: 0 })
  })

  test('the quarantine is beside the table', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query(`CREATE SCHEMA app; CREATE TABLE app.messages (id int PRIMARY KEY, wa_id text);
      INSERT INTO app.messages VALUES (1, 'a'), (2, 'a')`)

    await apply(database, { table: 'app.messages', column: 'wa_id' })

    expect(await rows(database, 'SELECT source_table FROM app.chat_messages_duplicates')).toEqual([
      { source_table: 'messages' },
    ])
  })

  test('keys of several columns, in any order, with times and enumerations', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query(`
      CREATE SCHEMA types; CREATE TYPE types.kind AS ENUM ('in', 'out');
      CREATE TABLE chat_messages (kind types.kind, at timestamptz, n smallint, wa_message_id text, PRIMARY KEY (at, kind, n));
      INSERT INTO chat_messages VALUES ('in', '2026-01-01 10:00:00.123456+01', 1, 'a'), ('out', '2026-01-01 08:00+00', 2, 'a')`)

    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 1 })
    expect(await rows(database, 'SELECT n FROM chat_messages')).toEqual([{ n: 2 }])
  })

  test('keys of a type that an extension brings, in a schema of its own', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query(`
      CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions;
      CREATE TABLE chat_messages (id extensions.citext PRIMARY KEY, wa_message_id text, content text);
      CREATE TABLE notes (message_id extensions.citext REFERENCES chat_messages (id));
      CREATE INDEX ON notes (message_id); ${LOOKUP_INDEX};
      INSERT INTO chat_messages VALUES ('A', 'a', 'x'), ('B', 'a', 'y')`)
    await database.pool.query(`ALTER DATABASE ${database.name} SET search_path = public, extensions`)
    const pool = createPool({ url: database.url, applicationName: 'test', max: 3 })
    cleanUp(() => pool.end())
    const run = await startHeldRun({ ...database, pool })

    const writer = await connect(database)
    await writer.query(`INSERT INTO chat_messages VALUES ('C', 'a', 'z')`)
    await writer.query(`INSERT INTO notes VALUES ('B')`)
    await run.release()

    expect(await run.result).toMatchObject({ outcome: 'done', moved: 2 })
    expect(await rows(database, 'SELECT message_id FROM notes')).toEqual([{ message_id: 'A' }])
  })

  test('a unique index on columns that are never null serves as a key', async () => {
    const database = await createOldDatabase(
      ['a', 'a'],
      'CREATE TABLE chat_messages (id serial NOT NULL UNIQUE, wa_message_id text, content text)',
    )

    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 1 })
  })

  test('a column of a domain over text', async () => {
    const database = await createOldDatabase(
      ['a', 'a'],
      `CREATE DOMAIN wamid AS text CHECK (length(value) < 600);
       CREATE TABLE chat_messages (id serial PRIMARY KEY, wa_message_id wamid, content text)`,
    )

    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 1 })
  })

  test('generated columns and identity columns', async () => {
    const database = await createOldDatabase(
      ['a', 'a'],
      `CREATE TABLE chat_messages (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, wa_message_id text, content text,
         shout text GENERATED ALWAYS AS (upper(content)) STORED)`,
    )

    expect(await apply(database, { fillsGaps: true })).toMatchObject({ outcome: 'done', moved: 1 })
  })

  test('a table with more columns than a function takes arguments', async () => {
    const columns = Array.from({ length: 150 }, (_, n) => `c${n} integer DEFAULT ${n}`)
    const database = await createOldDatabase(
      ['a', 'a'],
      `CREATE TABLE chat_messages (id serial PRIMARY KEY, wa_message_id text, content text, ${columns.join(', ')})`,
    )

    expect(await report(database)).toMatchObject({ groups: 1 })
    expect(await apply(database, { fillsGaps: true })).toMatchObject({ outcome: 'done', moved: 1 })
  })

  test('columns with the names of the aliases in the SQL of a run', async () => {
    const names = [
      't',
      'm',
      'o',
      'k',
      'c',
      'r',
      'n',
      'key',
      'kept',
      'moved',
      'held',
      'gone',
      'row',
      'copies',
      'v_id',
    ]
    const database = await createOldDatabase(
      ['a', 'a'],
      `CREATE TABLE chat_messages (id serial PRIMARY KEY, wa_message_id text, content text, ${names.map((name) => `"${name}" text`)});
       CREATE TABLE notes (message_id integer REFERENCES chat_messages (id), ${names.map((name) => `"${name}" text`)})`,
    )
    await database.pool.query(
      `UPDATE chat_messages SET t = 'later' WHERE id = 2; INSERT INTO notes VALUES (2)`,
    )

    expect(await report(database)).toMatchObject({ groups: 1, gaps: { t: 1 }, references: [{ rows: 1 }] })
    expect(await apply(database, { fillsGaps: true })).toMatchObject({ outcome: 'done', moved: 1 })
    const [moved] = await rows(database, 'SELECT "row" FROM chat_messages_duplicates')
    expect(moved?.row).toMatchObject({ id: 2, wa_message_id: 'a', content: 'row 2', t: 'later' })
    expect(await rows(database, 'SELECT t FROM chat_messages')).toEqual([{ t: 'later' }])
  })

  test('a single partition is cleaned by itself', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query(`
      CREATE TABLE chat_messages (id int, wa_message_id text, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
      CREATE TABLE chat_messages_2026 PARTITION OF chat_messages FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
      INSERT INTO chat_messages VALUES (1, 'a', '2026-01-01'), (2, 'a', '2026-01-02')`)

    const result = await apply(database, { table: 'chat_messages_2026', column: 'wa_message_id' })

    expect(result).toMatchObject({ outcome: 'done', moved: 1 })
  })
})

describe('what is refused', () => {
  test.each([
    [
      'ids that ignore case (citext)',
      'CREATE EXTENSION citext; CREATE TABLE chat_messages (id int PRIMARY KEY, wa_message_id citext)',
      /ids differ by case.*ALTER COLUMN "wa_message_id" TYPE text/,
    ],
    [
      'a collation that ignores case',
      `CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       CREATE TABLE chat_messages (id int PRIMARY KEY, wa_message_id text COLLATE anycase)`,
      /ids differ by case/,
    ],
    [
      'char(n)',
      'CREATE TABLE chat_messages (id int PRIMARY KEY, wa_message_id char(64))',
      /pads ids with spaces; run: ALTER TABLE/,
    ],
    [
      'a column that is no text',
      'CREATE TABLE chat_messages (id int PRIMARY KEY, wa_message_id uuid)',
      /is uuid; message ids are text or varchar: name another --column/,
    ],
    [
      'a computed column',
      `CREATE TABLE chat_messages (id int PRIMARY KEY, payload text, wa_message_id text GENERATED ALWAYS AS (lower(payload)) STORED)`,
      /computed from other columns/,
    ],
    [
      'a table without primary key that has an id',
      'CREATE TABLE chat_messages (id int, wa_message_id text)',
      /no primary key.*run: CREATE UNIQUE INDEX CONCURRENTLY "chat_messages_pkey" ON "public"."chat_messages" \(id\); ALTER TABLE/,
    ],
    [
      'a table without primary key and without an id',
      'CREATE TABLE chat_messages (wa_message_id text)',
      /no primary key.*ADD COLUMN id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY/,
    ],
    [
      'a partitioned table',
      'CREATE TABLE chat_messages (id int, wa_message_id text, day date) PARTITION BY RANGE (day)',
      /partitioned by RANGE \(day\).*CREATE TABLE messages_plain \(LIKE chat_messages INCLUDING ALL\)/,
    ],
    [
      'a table that others inherit from',
      'CREATE TABLE chat_messages (id int PRIMARY KEY, wa_message_id text); CREATE TABLE archive () INHERITS (chat_messages)',
      /child tables.*NO INHERIT/,
    ],
    ['a view', 'CREATE VIEW chat_messages AS SELECT 1 AS id', /is a view; name the table behind it/],
    ['no such table', 'SELECT 1', /there is no table chat_messages in this database/],
    [
      'a table in another schema',
      'CREATE SCHEMA app; CREATE TABLE app.chat_messages (id int PRIMARY KEY, wa_message_id text)',
      /did you mean --table app.chat_messages\?/,
    ],
    [
      'no such column',
      'CREATE TABLE chat_messages (id int PRIMARY KEY, wamid text)',
      /has no column wa_message_id; it has: id, wamid/,
    ],
    [
      'a quarantine of somebody else',
      'CREATE TABLE chat_messages (id int PRIMARY KEY, wa_message_id text); CREATE TABLE chat_messages_duplicates (id int)',
      /none of wa-ingest's.*RENAME TO/,
    ],
  ])('%s', async (_what, setup, reason) => {
    const database = await createEmptyDatabase()
    await database.pool.query(setup)

    await expect(apply(database)).rejects.toThrow(reason)
  })

  test.each(['', '.', 'a.', '"open', 'a.b.c'])('the name %j', async (table) => {
    const database = await createEmptyDatabase()

    await expect(apply(database, { table })).rejects.toThrow(/is no name/)
  })
})

describe('missing rights', () => {
  async function createRole(name: string, grants: (role: string) => string, setup = '') {
    const database = await createOldDatabase(['a', 'a'])
    const role = `${name}_${database.name.slice(5, 17)}`
    await database.pool.query(
      `${setup}; REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE ${role} LOGIN PASSWORD 'secret'; ${grants(role)}`,
    )
    const url = new URL(database.url)
    url.username = role
    url.password = 'secret'
    const pool = createPool({ url: url.href, applicationName: 'test', max: 3 })
    cleanUp(async () => {
      await pool.end()
      await database.pool.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`)
    })
    return { role, database: { ...database, pool } }
  }

  test('of a role that does not own the table: the report works and says what is missing; --apply changes nothing', async () => {
    const { role, database } = await createRole(
      'reader',
      (name) => `GRANT SELECT ON chat_messages TO ${name}`,
    )

    const found = await report(database)

    expect(found.groups).toBe(1)
    expect(found.obstacles.join('\n')).toMatch(
      new RegExp(
        `role ${role} does not own chat_messages, so it cannot build its index; connect as \\w+, or run: GRANT`,
      ),
    )
    expect(found.obstacles.join('\n')).toContain(`GRANT CREATE ON SCHEMA public TO ${role}`)
    await expect(apply(database)).rejects.toThrow('does not own chat_messages')
  })

  test('of a role that may not read the table: PostgreSQL says so', async () => {
    const { database } = await createRole('nobody', () => '')

    await expect(report(database)).rejects.toThrow('permission denied for table chat_messages')
  })

  test('on a table that refers to it', async () => {
    const { role, database } = await createRole(
      'owner',
      (name) => `GRANT CREATE, USAGE ON SCHEMA public TO ${name}; ALTER TABLE chat_messages OWNER TO ${name}`,
      'CREATE TABLE attachments (message_id integer REFERENCES chat_messages (id))',
    )

    await expect(apply(database)).rejects.toThrow(
      `role ${role} does not own attachments, so it cannot re-point attachments.message_id`,
    )
  })

  test('the owner of all tables needs no more', async () => {
    const { database } = await createRole(
      'owner',
      (name) =>
        `GRANT CREATE, USAGE ON SCHEMA public TO ${name}; ALTER TABLE chat_messages OWNER TO ${name};
         ALTER TABLE attachments OWNER TO ${name}`,
      'CREATE TABLE attachments (message_id integer REFERENCES chat_messages (id)); INSERT INTO attachments VALUES (2)',
    )

    expect(await apply(database)).toMatchObject({ outcome: 'done', moved: 1 })
  })

  test('in the schema of a table that refers to it', async () => {
    const { role, database } = await createRole(
      'owner',
      (name) => `GRANT CREATE, USAGE ON SCHEMA public TO ${name}; ALTER TABLE chat_messages OWNER TO ${name};
        GRANT USAGE ON SCHEMA crm TO ${name}; ALTER TABLE crm.notes OWNER TO ${name}`,
      'CREATE SCHEMA crm; CREATE TABLE crm.notes (message_id integer REFERENCES chat_messages (id))',
    )

    await expect(apply(database)).rejects.toThrow(`GRANT CREATE ON SCHEMA crm TO ${role}`)
  })

  test('on a quarantine that a run of another role has made', async () => {
    const { role, database } = await createRole(
      'owner',
      (name) =>
        `GRANT CREATE, USAGE ON SCHEMA public TO ${name}; ALTER TABLE chat_messages OWNER TO ${name};
         CREATE TABLE other (id int PRIMARY KEY, wa_id text)`,
    )
    const admin = { ...database, pool: createPool({ url: database.url, applicationName: 'admin', max: 3 }) }
    cleanUp(() => admin.pool.end())
    await apply(admin, { table: 'other', column: 'wa_id' })

    await expect(apply(database)).rejects.toThrow(
      new RegExp(`role ${role} does not own chat_messages_duplicates, which an earlier run has made as \\w+`),
    )
  })

  test('are not left behind by a superuser: the quarantine belongs to the owner of the table', async () => {
    const { role, database } = await createRole(
      'owner',
      (name) => `GRANT CREATE, USAGE ON SCHEMA public TO ${name}; ALTER TABLE chat_messages OWNER TO ${name}`,
    )
    const admin = { ...database, pool: createPool({ url: database.url, applicationName: 'admin', max: 3 }) }
    cleanUp(() => admin.pool.end())

    await apply(admin)

    const owners = await rows(
      admin,
      `SELECT tableowner FROM pg_tables WHERE tablename = 'chat_messages_duplicates'`,
    )
    expect(owners).toEqual([{ tableowner: role }])
    expect(await audit(database)).toMatchObject({ ok: true, quarantined: 1 })
  })

  test('rows hidden by row security are not overlooked', async () => {
    const { database } = await createRole(
      'owner',
      (name) => `GRANT CREATE, USAGE ON SCHEMA public TO ${name}; ALTER TABLE chat_messages OWNER TO ${name};
        ALTER TABLE chat_messages ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`,
    )

    await expect(apply(database)).rejects.toThrow('row security hides rows of chat_messages')
  })
})

test('the pool does not reuse a connection that a run has used', async () => {
  const database = await createOldDatabase(['a', 'a'])

  await apply(database)

  const client = await connect(database)
  const { rows: settings } = await database.pool.query('SHOW lock_timeout')
  expect(settings).toEqual([{ lock_timeout: '0' }])
  await client.query('SELECT 1')
})
