import { describe, expect, test } from 'vitest'
import { migrations } from '../../migrations/index.ts'
import { createOldChat, SEED } from '../db/adopt/old-chat.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http.ts'
import {
  META_APP_SECRET,
  META_PHONE_NUMBER_ID,
  metaHeaders,
  metaTextWebhook,
} from '../support/meta-webhooks.ts'
import { createEmptyDatabase } from '../support/postgres.ts'
import { findFreePort, startCli } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { runCommand } from './run-command.ts'

const NAMES = Object.keys(migrations)

test('an empty database gets every migration; again there is nothing to do', async () => {
  const { url } = await createEmptyDatabase()

  const first = await runCommand(['migrate'], { DATABASE_URL: url })
  const again = await runCommand(['migrate'], { DATABASE_URL: url })

  expect(first).toEqual({ code: 0, stdout: `Applied ${NAMES.join(', ')}.\n`, stderr: '' })
  expect(again).toEqual({ code: 0, stdout: 'The database is current.\n', stderr: '' })
})

test('--dry-run changes nothing, whatever the database', async () => {
  const [empty, cleaned] = [await createEmptyDatabase(), await createEmptyDatabase()]
  await cleaned.pool.query('CREATE TABLE message (id int PRIMARY KEY, wa_id text)')
  await runCommand(['dedupe', '--apply', '--table', 'message', '--column', 'wa_id'], {
    DATABASE_URL: cleaned.url,
  })

  const ofEmpty = await runCommand(['migrate', '--dry-run'], { DATABASE_URL: empty.url })
  const ofCleaned = await runCommand(['migrate', '--dry-run'], { DATABASE_URL: cleaned.url })

  expect(ofEmpty).toMatchObject({
    code: 0,
    stdout: `Nothing was changed. To be applied: ${NAMES.join(', ')}.\n`,
  })
  expect(ofCleaned.stdout).toBe('Nothing was changed. The tables that are missing can be made.\n')
  for (const { pool } of [empty, cleaned]) {
    const { rows } = await pool.query(`SELECT to_regclass('chat_messages') AS messages`)
    expect(rows).toEqual([{ messages: null }])
  }
})

test('is one JSON document with --json', async () => {
  const { url } = await createEmptyDatabase()

  const { stdout } = await runCommand(['migrate', '--json'], { DATABASE_URL: url })

  expect(JSON.parse(stdout)).toEqual({ applied: NAMES })
})

test('the direct connection goes before the pooled one', async () => {
  const { url } = await createEmptyDatabase()

  const { code } = await runCommand(['migrate'], {
    DATABASE_URL: 'postgres://127.0.0.1:1/x',
    DATABASE_DIRECT_URL: url,
  })

  expect(code).toBe(0)
})

test('a new embedded database is made and migrated', async () => {
  const directory = createTempDirectory()

  const { code, stdout } = await runCommand(['migrate'], { DATA_DIR: directory })
  const verified = await runCommand(['verify'], { DATA_DIR: directory })

  expect({ code, stdout }).toEqual({ code: 0, stdout: `Applied ${NAMES.join(', ')}.\n` })
  expect(verified.code).toBe(0)
})

describe('an old chat_messages', () => {
  test('is reported by --dry-run, refused with every reason, and taken over', async () => {
    const old = await createOldChat(
      SEED,
      `INSERT INTO chat_messages (conversation_id, wa_message_id, content) VALUES (1, 'wamid.A', 'x')`,
      'ALTER TABLE chat_messages ADD tenant_id integer',
    )
    const env = { DATABASE_URL: old.url, META_PHONE_NUMBER_ID: '106540352240001', META_ACCESS_TOKEN: 'token' }

    const dry = await runCommand(['migrate', '--dry-run'], env)
    await old.pool.query(
      'UPDATE chat_messages SET tenant_id = 1; ALTER TABLE chat_messages ALTER tenant_id SET NOT NULL',
    )
    const refused = await runCommand(['migrate'], env)
    await old.pool.query('ALTER TABLE chat_messages ALTER COLUMN "tenant_id" DROP NOT NULL')
    const done = await runCommand(['migrate'], env)

    expect(dry.stdout).toMatch(
      /^Nothing was changed\. chat_messages can be taken over, with 1 messages\.\n! Nothing says which/,
    )
    expect(refused.code).toBe(1)
    expect(refused.stderr).toBe(
      'wa-ingest migrate: chat_messages.tenant_id is required and has no default, so wa-ingest could write no row; run: ALTER TABLE chat_messages ALTER COLUMN "tenant_id" DROP NOT NULL\n',
    )
    expect(done.stdout).toMatch(
      /^Took over chat_messages: 1 messages in 1 conversations, 0 of them with a phone\.\n/,
    )
    expect(done.code).toBe(0)
  })

  test('--provider and --phone-column that make no sense are refused', async () => {
    const old = await createOldChat(SEED)

    const provider = await runCommand(['migrate', '--provider', 'telegram'], { DATABASE_URL: old.url })
    const phone = await runCommand(['migrate', '--phone-column', 'chat_messages.nope'], {
      DATABASE_URL: old.url,
    })
    const condition = await runCommand(['migrate', '--outbound-when', 'nope = 1'], { DATABASE_URL: old.url })

    expect(provider).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--provider is meta or twilio, not "telegram"'),
    })
    expect(phone.stderr).toContain('--phone-column chat_messages.nope: there is no such column')
    expect(condition.stderr).toContain('column "nope" does not exist')
  })
})

test('from the old system to the running service: dedupe, migrate, verify, start; nothing is stored twice', async () => {
  const old = await createOldChat(
    SEED,
    `INSERT INTO chat_messages (id, conversation_id, wa_message_id, content)
       VALUES (512, 1, 'wamid.OLD', 'hello'), (513, 1, 'wamid.OLD', 'hello')`,
  )
  const port = await findFreePort()
  const env = {
    DATABASE_URL: old.url,
    DATA_DIR: createTempDirectory(),
    META_APP_SECRET,
    META_PHONE_NUMBER_ID,
    META_ACCESS_TOKEN: 'token',
    PORT: String(port),
  }
  const tooEarly = startCli(['start'], { env })
  expect((await tooEarly.ended).code).toBe(1)
  expect(tooEarly.output).toContain('to take them over run: npx wa-ingest migrate')

  const first = await runCommand(['migrate'], env)
  const deduped = await runCommand(['dedupe', '--apply'], env)
  const migrated = await runCommand(['migrate'], env)
  const verified = await runCommand(['verify'], env)
  const service = startCli(['start'], { env })
  await service.waitForOutput(/"msg":"ready"/)
  for (const id of ['wamid.OLD', 'wamid.NEW', 'wamid.OLD', 'wamid.NEW']) {
    const body = metaTextWebhook({ id })
    const response = await send(`http://127.0.0.1:${port}/webhooks/meta`, {
      method: 'POST',
      headers: metaHeaders(body),
      body,
    })
    expect(response.status).toBe(200)
  }

  expect(first.stderr).toContain(
    '1 ids are in chat_messages more than once; run: npx wa-ingest dedupe --apply',
  )
  expect([deduped.code, migrated.code, verified.code]).toEqual([0, 0, 0])
  await eventually(async () => {
    const { rows } = await old.pool.query('SELECT id, wa_message_id, source FROM chat_messages ORDER BY id')
    expect(rows).toEqual([
      { id: '512', wa_message_id: 'wamid.OLD', source: 'webhook' },
      { id: expect.any(String), wa_message_id: 'wamid.NEW', source: 'webhook' },
    ])
  })
})
