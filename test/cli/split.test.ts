/** `wa-ingest split`, as a process of its own beside one that stores messages. */
import { beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startCli } from '../support/processes.ts'
import { dump } from '../support/reprocessing.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { ANN, fromBob, mergeInError, messagesByName, say } from '../support/wrong-merge.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
  await mergeInError(database)
})

test('says what it would do and what it cannot restore, and changes nothing', async () => {
  const before = await dump(database, 'contacts', 'contact_identifiers', 'conversations', 'chat_messages')

  const { code, stdout } = await run('--contact', `+${ANN.phone}`)

  expect(stdout).toMatch(/Contact 2 \(Bob\), merged into 1 \(Bob\) on 2\d{3}-/)
  expect(stdout).toMatch(/gets back +15550002222, US\.2222\n +the other keeps +15550001111, US\.1111\n/)
  expect(stdout).toMatch(/conversations +1 separated with 2 messages, 0 go whole\n/)
  expect(stdout).toMatch(/since the merge +1 messages/)
  expect(stdout).toContain('Nothing was changed. To do it: npx wa-ingest split --contact ID --apply')
  expect(code).toBe(0)
  expect(await dump(database, 'contacts', 'contact_identifiers', 'conversations', 'chat_messages')).toEqual(
    before,
  )
})

test('goes on where it was killed, while messages arrive, and ends with every message once', async () => {
  await database.pool.query(`
    INSERT INTO chat_messages (conversation_id, original_conversation_id, direction, provider, wa_message_id, source, detail,
      message_type, content, sent_at, received_at)
    SELECT 1, CASE WHEN n % 2 = 0 THEN 2 END, 'inbound', 'meta', 'wamid.many' || n, 'webhook', 14, 'text',
      CASE WHEN n % 2 = 0 THEN 'of Bob' ELSE 'of Ann' END, now(), now()
    FROM generate_series(1, 8000) n`)
  const first = start('--contact', '2', '--apply')
  await expect.poll(movedSoFar, { timeout: 30_000, interval: 5 }).toBeGreaterThan(0)
  first.kill('SIGKILL')
  await first.ended
  expect(await movedSoFar()).toBeLessThan(4_000)
  await say(database, 'wamid.ann2', { user_id: ANN.user_id }, { day: 110 })
  await say(database, 'wamid.bob4', { user_id: 'US.2222' }, { ...fromBob, day: 111 })

  const { code, stdout } = await run('--contact', '2', '--apply', '--json')

  expect(JSON.parse(stdout)).toMatchObject({ applied: true, stopped: false, messages_moved: 4_003 })
  expect(code).toBe(0)
  const { Ann = [], Bob = [] } = await messagesByName(database)
  expect([Ann.length, Bob.length]).toEqual([4_002, 4_004])
  expect([Ann.includes('of Bob'), Bob.includes('of Ann')]).toEqual([false, false])
})

test('refuses what it cannot split, with the reason', async () => {
  expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining('--contact is missing') })
  expect(await run('--contact', '99')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no contact is known as 99'),
  })
  await run('--contact', '2', '--apply')
  expect(await run('--contact', '2', '--apply')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('nothing was merged into the contact 2'),
  })
})

async function movedSoFar(): Promise<number> {
  const { rows } = await database.pool.query(
    'SELECT coalesce(sum(moved), 0) AS moved FROM conversation_splits',
  )
  return Number(rows[0].moved)
}

function start(...args: string[]) {
  return startCli(['split', ...args], {
    env: { DATABASE_URL: database.url, DATA_DIR: createTempDirectory() },
  })
}

async function run(...args: string[]) {
  const child = start(...args)
  const { code } = await child.ended
  return { code, stdout: child.stdout, stderr: child.stderr }
}
