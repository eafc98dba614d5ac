import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { beforeEach, describe, expect, test } from 'vitest'
import { main } from '../../src/cli/main.ts'
import {
  metaChange,
  metaMessage,
  metaMessagesWebhook,
  metaStatus,
  metaWebhook,
} from '../support/meta-webhooks.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startCli } from '../support/processes.ts'
import { dump, EVERYTHING, metaJobs, storeJobs } from '../support/reprocessing.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

/** Two messages of which one was misread, a status, and two parked messages of which one is understood. */
async function storeAsOlderRelease(): Promise<void> {
  const value = { messages: [metaMessage(), metaMessage()], statuses: [metaStatus()] }
  await storeJobs(database, metaJobs(metaWebhook([metaChange(value)])))
  await database.pool.query(
    `UPDATE chat_messages SET content = NULL WHERE id = (SELECT min(id) FROM chat_messages)`,
  )
  await storeJobs(
    database,
    metaJobs(metaMessagesWebhook([metaMessage(), metaMessage({ id: 7 })])),
    ({ event }) => ({
      kind: 'parked',
      reason: event.park ?? 'not understood',
    }),
  )
}

describe('wa-ingest reprocess', () => {
  test('says what it read, what changed, what was recovered and why the rest stays parked', async () => {
    await storeAsOlderRelease()

    const { code, stdout, stderr } = await run([])

    expect(stdout).toMatch(/messages +3 +1 +0\n/)
    expect(stdout).toMatch(/statuses +1 +0 +0\n/)
    expect(stdout).toMatch(/parked events +2 +1 +1\n/)
    expect(stdout).toMatch(/message has an id that is not a string +1\n/)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  test('says it as one JSON document, and the second time that nothing changed', async () => {
    await storeAsOlderRelease()

    const first = await run(['--json'])
    const before = await dump(database, ...EVERYTHING)
    const second = await run(['--json'])

    const stillParked = { still_parked: 1, reasons: { 'message has an id that is not a string': 1 } }
    expect(JSON.parse(first.stdout)).toEqual({
      dry_run: false,
      stopped: false,
      messages: { examined: 3, changed: 1, left: 0 },
      statuses: { examined: 1, changed: 0, left: 0 },
      parked: { examined: 2, recovered: 1, ...stillParked },
    })
    expect(JSON.parse(second.stdout)).toMatchObject({
      messages: { examined: 3, changed: 0 },
      parked: { examined: 1, recovered: 0, ...stillParked },
    })
    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test('changes nothing with --dry-run', async () => {
    await storeAsOlderRelease()
    const before = await dump(database, ...EVERYTHING)

    const { stdout } = await run(['--dry-run'])

    expect(stdout).toMatch(
      /would change[\s\S]*messages +2 +1 +0\n[\s\S]*understood[\s\S]*parked events +2 +1 +1\n/,
    )
    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test.each([
    [['--messages'], ['messages', 'statuses']],
    [['--parked'], ['parked']],
    [
      ['--messages', '--parked'],
      ['messages', 'parked', 'statuses'],
    ],
  ])('with %j does only that', async (args, parts) => {
    const { stdout } = await run([...args, '--json'])

    expect(Object.keys(JSON.parse(stdout)).sort()).toEqual(['dry_run', ...parts, 'stopped'].sort())
  })

  test('takes only what was received since a date', async () => {
    await storeAsOlderRelease()

    const { stdout } = await run(['--since', '2026-06-02', '--json'])

    expect(JSON.parse(stdout)).toMatchObject({ messages: { examined: 0 }, parked: { examined: 0 } })
  })

  test.each([
    [['--since', 'yesterday'], '--since takes a date such as 2026-06-01'],
    [['--since', '2026-13-01'], '--since takes a date such as 2026-06-01'],
    [['--batch-size', '0'], '--batch-size takes a whole number'],
    [['--parkd'], 'did you mean --parked?'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await run(args)

    expect(stderr).toContain(message)
    expect(code).toBe(2)
  })

  test('names the next step where the database was never migrated', async () => {
    const { url } = await createEmptyDatabase()

    const { code, stderr } = await run(['--database-url', url])

    expect(stderr).toContain('npx wa-ingest migrate')
    expect(code).toBe(1)
  })

  test('ends at once and without harm on Ctrl-C, and says what was done', async () => {
    await storeJobs(
      database,
      metaJobs(metaMessagesWebhook(Array.from({ length: 2_000 }, () => metaMessage()))),
    )
    await database.pool.query('UPDATE chat_messages SET content = NULL')
    const child = startCli(['reprocess', '--batch-size', '1', '--json'], {
      env: { DATABASE_URL: database.url, DATA_DIR: createTempDirectory() },
    })
    await expect.poll(async () => (await misread()) < 2_000, { timeout: 30_000, interval: 5 }).toBe(true)

    const end = await child.stop({ signal: 'SIGINT' })

    const { stopped, messages } = JSON.parse(child.stdout)
    expect(end.code).toBe(130)
    expect(stopped).toBe(true)
    expect(messages.changed).toBe(2_000 - (await misread()))
    expect(JSON.parse((await run(['--json'])).stdout).messages.changed).toBe(2_000 - messages.changed)
  })
})

async function misread(): Promise<number> {
  const { rows } = await database.pool.query('SELECT count(*) FROM chat_messages WHERE content IS NULL')
  return Number(rows[0].count)
}

async function run(args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const code = await main(['reprocess', ...args], {
    env: { DATABASE_URL: database.url, DATA_DIR: createTempDirectory() },
    stdout,
    stderr,
    signal: new AbortController().signal,
  })
  stdout.end()
  stderr.end()
  return { code, stdout: await text(stdout), stderr: await text(stderr) }
}
