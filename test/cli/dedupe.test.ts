import { describe, expect, test } from 'vitest'
import { connect, createOldDatabase, insertIds, LOOKUP_INDEX, rows } from '../db/dedupe/old-table.ts'
import { eventually } from '../support/eventually.ts'
import { createEmptyDatabase } from '../support/postgres.ts'
import { startCli } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { runCommand } from './run-command.ts'

describe('the report', () => {
  test('says which ids are there more than once, what it would do, and how', async () => {
    const database = await createOldDatabase(['wamid.A', 'wamid.B', 'wamid.A', null])
    await database.pool.query(`
      UPDATE chat_messages SET content = NULL WHERE id = 1;
      CREATE TABLE attachments (message_id integer REFERENCES chat_messages (id) ON DELETE CASCADE);
      INSERT INTO attachments VALUES (3)`)

    const { code, stdout, stderr } = await runCommand(['dedupe'], { DATABASE_URL: database.url })

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(
      'chat_messages.wa_message_id: 1 id there more than once, in 2 rows; 1 row to move.',
    )
    expect(stdout).toMatch(/wamid\.A +1 +3/)
    expect(stdout).toContain(
      'A later copy has what the row to be kept lacks: content (1 id). --merge takes it over.',
    )
    expect(stdout).toMatch(/attachments\.message_id +1 +on delete cascade +gets an index for the run/)
    expect(stdout).toContain('The unique index idx_chat_messages_wa_message_id_unique is missing.')
    expect(stdout).toMatch(
      /Estimated time: .*\n\nNothing was changed\. To do it: npx wa-ingest dedupe --apply\n$/,
    )
    expect(await rows(database, 'SELECT count(*)::int FROM chat_messages')).toEqual([{ count: 4 }])
  })

  test('warns of a word that is no message id', async () => {
    const database = await createOldDatabase(Array(60).fill(`it's unknown`))

    const { stdout } = await runCommand(['dedupe'], { DATABASE_URL: database.url })

    expect(stdout).toContain(
      `! "it's unknown" is in 60 rows. If that is no message id, run first: UPDATE chat_messages SET wa_message_id = NULL WHERE wa_message_id = 'it''s unknown'`,
    )
  })

  test('names what has to be done before it can be applied', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(`ALTER TABLE chat_messages ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
      CREATE ROLE owner_${database.name} LOGIN PASSWORD 'x'; GRANT ALL ON SCHEMA public TO owner_${database.name};
      ALTER TABLE chat_messages OWNER TO owner_${database.name}; CREATE POLICY everything ON chat_messages`)
    const url = new URL(database.url)
    url.username = `owner_${database.name}`
    url.password = 'x'

    const { code, stdout } = await runCommand(['dedupe'], { DATABASE_URL: url.href })

    expect(code).toBe(0)
    expect(stdout).toMatch(/Before it can be done:\n {2}- row security hides rows of chat_messages/)
    await database.pool.query(
      `DROP OWNED BY owner_${database.name} CASCADE; DROP ROLE owner_${database.name}`,
    )
  })

  test('is one JSON document with --json', async () => {
    const database = await createOldDatabase(['a', 'a'])

    const { stdout } = await runCommand(['dedupe', '--json'], { DATABASE_URL: database.url })

    expect(JSON.parse(stdout)).toMatchObject({ groups: 1, rows: 2, rows_to_move: 1, obstacles: [] })
  })
})

describe('--apply', () => {
  test('says what it did', async () => {
    const database = await createOldDatabase(['a', 'a', 'b'])
    await database.pool.query(`
      CREATE TABLE attachments (message_id integer REFERENCES chat_messages (id)); INSERT INTO attachments VALUES (2)`)

    const { code, stdout } = await runCommand(['dedupe', '--apply'], { DATABASE_URL: database.url })

    expect(code).toBe(0)
    expect(stdout).toMatch(/^Moved 1 rows into chat_messages_duplicates in .* \(run [0-9a-f-]{36}\)\.\n/)
    expect(stdout).toContain('Re-pointed 1 rows of attachments.message_id.')
    expect(stdout).toMatch(/The unique index is built and valid\.\n$/)
  })

  test('serves other systems: --table, --column, --order-by', async () => {
    const database = await createEmptyDatabase()
    await database.pool.query(`CREATE TABLE "Message" (id text PRIMARY KEY, wa_sid text NOT NULL, "createdAt" timestamp);
      INSERT INTO "Message" VALUES ('a', 'SM1', '2026-02-01'), ('b', 'SM1', '2026-01-01')`)
    const args = ['--table', 'Message', '--column', 'wa_sid', '--order-by', 'createdAt']

    const found = await runCommand(['dedupe', ...args], { DATABASE_URL: database.url })
    const { code } = await runCommand(['dedupe', ...args, '--apply', '--json'], {
      DATABASE_URL: database.url,
    })

    expect(found.stdout).toContain(
      'To do it: npx wa-ingest dedupe --table Message --column wa_sid --order-by createdAt --apply',
    )
    expect(code).toBe(0)
    expect(await rows(database, 'SELECT id FROM "Message"')).toEqual([{ id: 'b' }])
  })

  test('ends with 1 and says why when an id could not be cleaned', async () => {
    const database = await createOldDatabase(['a', 'a'])
    await database.pool.query(`CREATE TABLE reactions (message_id integer PRIMARY KEY REFERENCES chat_messages (id));
      INSERT INTO reactions VALUES (1), (2)`)

    const { code, stdout } = await runCommand(['dedupe', '--apply'], { DATABASE_URL: database.url })

    expect(code).toBe(1)
    expect(stdout).toMatch(
      /1 ids are left as they are:\n {2}a: duplicate key value violates unique constraint "reactions_pkey"/,
    )
    expect(stdout).toContain('The unique index is not built.')
  })

  test('shows progress with rows and steps, and none with --quiet', async () => {
    const database = await createOldDatabase(Array.from({ length: 400 }, (_, n) => `id${n % 200}`))
    const cli = startCli(['dedupe', '--apply'], {
      env: { DATABASE_URL: database.url, DATA_DIR: createTempDirectory() },
    })

    expect(await cli.ended).toMatchObject({ code: 0 })
    const quiet = await runCommand(['dedupe', '--apply', '--quiet'], { DATABASE_URL: database.url })
    expect(quiet.stderr).toBe('')
  })

  test('stops at Ctrl-C, leaves moved rows where they are, and continues with the same command', async () => {
    const database = await createOldDatabase(['x', 'x', 'held', 'held'])
    await database.pool.query(LOOKUP_INDEX)
    const locker = await connect(database)
    await locker.query('BEGIN; SELECT FROM chat_messages WHERE id = 4 FOR UPDATE')
    const env = { DATABASE_URL: database.url, DATA_DIR: createTempDirectory() }
    const cli = startCli(['dedupe', '--apply'], { env })
    await eventually(async () => {
      const moved = await rows(database, `SELECT original_id FROM chat_messages_duplicates`)
      expect(moved).toEqual([{ original_id: '2' }])
    })

    cli.kill('SIGINT')
    const { code } = await cli.ended
    await locker.query('COMMIT')
    const again = await runCommand(['dedupe', '--apply'], env)

    expect(code).toBe(130)
    expect(cli.stdout).toContain('Stopped. What is moved stays moved; the same command goes on from here.')
    expect(again).toMatchObject({ code: 0 })
    expect(await rows(database, 'SELECT count(*)::int FROM pg_trigger WHERE NOT tgisinternal')).toEqual([
      { count: 0 },
    ])
  })

  test('killed with SIGKILL: verify says what is left, --clean-up removes it, and --apply finishes', async () => {
    const database = await createOldDatabase(['x', 'x', 'held', 'held'])
    await database.pool.query(LOOKUP_INDEX)
    const locker = await connect(database)
    await locker.query('BEGIN; SELECT FROM chat_messages WHERE id = 4 FOR UPDATE')
    const env = { DATABASE_URL: database.url, DATA_DIR: createTempDirectory() }
    const cli = startCli(['dedupe', '--apply'], { env })
    await eventually(async () => {
      expect(await rows(database, 'SELECT original_id FROM chat_messages_duplicates')).toHaveLength(1)
    })

    cli.kill('SIGKILL')
    await cli.ended
    await locker.query('COMMIT')
    const left = await eventually(async () => {
      const verified = await runCommand(['verify'], env)
      expect(verified.stdout).toContain('a dedupe run was killed and left trigger')
      return verified
    })
    await insertIds(database.pool, ['x'])
    const cleaned = await runCommand(['dedupe', '--clean-up'], env)
    const verified = await runCommand(['verify', '--json'], env)
    const finished = await runCommand(['dedupe', '--apply'], env)

    expect(left.code).toBe(1)
    expect(cleaned).toMatchObject({ code: 0, stdout: 'Nothing temporary is left.\n' })
    expect(JSON.parse(verified.stdout)).toMatchObject({
      leftovers: { triggers: [], indexes: [] },
      duplicates: { groups: 2 },
    })
    expect(finished).toMatchObject({ code: 0 })
    expect((await runCommand(['verify'], env)).code).toBe(0)
  })
})

describe('a command line that makes no sense', () => {
  test.each([
    [['--apply', '--clean-up'], '--apply and --clean-up are two things'],
    [['--merge'], '--merge goes with --apply'],
    [['--batch-size', '0', '--apply'], '--batch-size takes a whole number'],
    [['--table', ''], '--table is empty'],
    [['--aply'], 'did you mean --apply?'],
  ])('%j', async (args, reason) => {
    const { code, stderr } = await runCommand(['dedupe', ...args], {
      DATABASE_URL: 'postgres://127.0.0.1:1/x',
    })

    expect(stderr).toContain(reason)
    expect(code).toBe(2)
  })
})

describe('a database that cannot be used is one line', () => {
  test.each(['dedupe', 'verify', 'migrate'])('%s, refused', async (name) => {
    const { code, stderr, stdout } = await runCommand([name], { DATABASE_URL: 'postgres://127.0.0.1:1/x' })

    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toBe(
      `wa-ingest ${name}: cannot use the database: connect ECONNREFUSED 127.0.0.1:1; check DATABASE_URL\n`,
    )
  })

  test.each(['dedupe', 'verify'])('%s, none at all', async (name) => {
    const { code, stderr } = await runCommand([name])

    expect(code).toBe(1)
    expect(stderr).toMatch(
      /no database: DATABASE_URL is not set, and .* has none; set DATABASE_URL or give --database-url\n$/,
    )
  })
})
