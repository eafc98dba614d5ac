import { expect, test } from 'vitest'
import { createOldDatabase } from '../db/dedupe/old-table.ts'
import { eventually } from '../support/eventually.ts'
import { send } from '../support/http.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { findFreePort, startCli } from '../support/processes.ts'
import { ADMIN_PASSWORD } from '../support/service.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { runCommand } from './run-command.ts'

const NAME = 'idx_chat_messages_wa_message_id_unique'

test('ends with 0 where everything is right, and shows the latest messages', async () => {
  const database = await createTestDatabase()
  await database.pool.query(`
    INSERT INTO contacts DEFAULT VALUES;
    INSERT INTO conversations (provider, business_number, contact_id) SELECT 'meta', 'n', id FROM contacts;
    INSERT INTO chat_messages (conversation_id, direction, provider, wa_message_id, source, detail, message_type, content)
      SELECT id, 'inbound', 'meta', 'wamid.A', 'webhook', 14, 'text', E'hello\\nthere' FROM conversations`)

  const { code, stdout } = await runCommand(['verify'], { DATABASE_URL: database.url })

  expect(code).toBe(0)
  expect(stdout).toContain(`ok  index ${NAME} exists`)
  expect(stdout).toContain('ok  no wa_message_id is there twice')
  expect(stdout).toMatch(/rows +1\n/)
  expect(stdout).toMatch(/1 +wamid\.A +inbound +meta +text +hello there/)
  expect(stdout).toMatch(/Everything is as it should be\.\n$/)
})

test('ends with 1 where anything is wrong, and says what to do', async () => {
  const database = await createOldDatabase(['a', 'a'])

  const { code, stdout } = await runCommand(['verify'], { DATABASE_URL: database.url })

  expect(code).toBe(1)
  expect(stdout).toContain(`NO  index ${NAME} exists`)
  expect(stdout).toMatch(
    /! 1 ids of chat_messages are there more than once; run: npx wa-ingest dedupe --apply\n$/,
  )
})

test('is one JSON document with --json', async () => {
  const database = await createTestDatabase()

  const { stdout } = await runCommand(['verify', '--json'], { DATABASE_URL: database.url })

  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    problems: [],
    rows: 0,
    quarantined: 0,
    index: { is_valid: true },
  })
})

test.each(['start', 'api', 'worker'])('the same check stops the start of %s', async (name) => {
  const database = await createTestDatabase()
  await database.pool.query(`DROP INDEX ${NAME}`)

  const service = startCli([name], {
    env: { DATABASE_URL: database.url, PORT: String(await findFreePort()), DATA_DIR: createTempDirectory() },
  })

  expect((await service.ended).code).toBe(1)
  expect(service.output).toContain(`the unique index ${NAME} is missing; run: npx wa-ingest dedupe --apply`)
})

test('the same check takes a running service out of readiness, and back in', async () => {
  const database = await createTestDatabase()
  const port = await findFreePort()
  const service = startCli(['start'], {
    env: {
      DATABASE_URL: database.url,
      PORT: String(port),
      DATA_DIR: createTempDirectory(),
      ADMIN_PASSWORD,
    },
  })
  await service.waitForOutput(/"msg":"ready"/)
  const ready = () =>
    send(`http://127.0.0.1:${port}/health/ready`, {
      headers: { authorization: `Basic ${Buffer.from(`admin:${ADMIN_PASSWORD}`).toString('base64')}` },
    })
  await eventually(async () => expect((await ready()).status).toBe(200))

  await database.pool.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = '${NAME}'::regclass`)
  const unready = await eventually(async () => {
    const response = await ready()
    expect(response.status).toBe(503)
    return response
  })
  await database.pool.query(`UPDATE pg_index SET indisvalid = true WHERE indexrelid = '${NAME}'::regclass`)

  expect(unready.text).toContain(`the index ${NAME} is INVALID`)
  await eventually(async () => expect((await ready()).status).toBe(200))
})
