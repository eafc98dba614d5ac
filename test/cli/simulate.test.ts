import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { main } from '../../src/cli/main.ts'
import type { Report } from '../../src/cli/simulate/report.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { findFreePort, startCli } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { APP_SECRET, startReceiver, storeAll } from './simulate/test-receiver.ts'

describe('the audit', () => {
  test('finds every message and status stored once when webhooks come again', async () => {
    const database = await createTestDatabase()
    const { url, webhooks } = await startReceiver(database)

    const { code, report } = await simulate(database, url, ['--messages', '400', '--redeliveries', '0.5'])

    expect(report).toMatchObject({
      ok: true,
      messages: { sent: 400, acknowledged: 400, stored: 400, doubled: 0, lost: 0 },
      statuses: { sent: 120, acknowledged: 120, stored: 120, doubled: 0, lost: 0 },
      webhooks: { sent: webhooks.length, acknowledged: webhooks.length, refused: 0, never_acknowledged: 0 },
    })
    expect(report.webhooks.redeliveries).toBeGreaterThan(10)
    expect(code).toBe(0)
    expect(await countRows(database)).toEqual({ chat_messages: 400, message_statuses: 120 })
  })

  test('names what is stored twice', async () => {
    const database = await createTestDatabase()
    await database.pool.query('DROP INDEX idx_chat_messages_wa_message_id_unique')
    await database.pool.query('ALTER TABLE message_statuses DROP CONSTRAINT message_statuses_unique')
    const { url } = await startReceiver(database)

    const { code, report } = await simulate(database, url, ['--messages', '200', '--redeliveries', '0.5'])

    const doubled = await countDoubled(database)
    expect(doubled).toBeGreaterThan(5)
    expect(report.messages).toMatchObject({ stored: 200, doubled, lost: 0 })
    expect(report.statuses.doubled).toBeGreaterThan(0)
    expect(report.doubled_examples.length).toBeGreaterThan(0)
    expect(report.ok).toBe(false)
    expect(code).toBe(1)
  })

  test('names what was acknowledged and never stored', async () => {
    const database = await createTestDatabase()
    const dropped = new Set<string>()
    const { url } = await startReceiver(database, async (webhook) => {
      const [first, ...others] = webhook.jobs
      const isDropped = first !== undefined && dropped.size < 3
      if (isDropped) dropped.add(first.job_id)
      await webhook.store(isDropped ? others : webhook.jobs)
      return 200
    })

    const { code, report } = await simulate(database, url, [
      '--messages',
      '200',
      '--redeliveries',
      '0',
      '--timeout',
      '1',
    ])

    expect(report).toMatchObject({ ok: false, doubled: 0, lost: 3, sent: 260, stored: 257 })
    const lostIds = [...dropped].map((jobId) => jobId.replace(/^status\.[a-z]+\./, ''))
    expect(lostIds).toEqual(expect.arrayContaining(report.lost_examples))
    expect(report.lost_examples.length).toBeGreaterThan(0)
    expect(code).toBe(1)
  })

  test('says why a lost message was parked', async () => {
    const database = await createTestDatabase()
    const { url } = await startReceiver(database, async ({ jobs, store }) => {
      const [first, ...others] = jobs
      await store(others)
      await database.pool.query(
        `INSERT INTO webhook_events (event_key, provider, kind, wa_message_id, raw, reason, received_at)
         VALUES ($1, 'meta', 'message', $2, '', 'another number has it', now()) ON CONFLICT DO NOTHING`,
        [first?.job_id, first?.event.wa_message_id],
      )
      return 200
    })

    const { report } = await simulate(database, url, ['--messages', '1', '--timeout', '1'])

    expect(report).toMatchObject({ lost: 1, parked: { 'another number has it': 1 } })
  })

  test('waits for a worker that stores after the answer', async () => {
    const database = await createTestDatabase()
    const waiting: (() => Promise<void>)[] = []
    const { url } = await startReceiver(database, async (webhook) => {
      waiting.push(() => webhook.store(webhook.jobs))
      return 200
    })

    const looksBefore = await countLooks(database)
    const running = simulate(database, url, ['--messages', '50', '--redeliveries', '0', '--batch', '5'])
    await expect.poll(() => countLooks(database), { timeout: 20_000 }).toBeGreaterThan(looksBefore + 5)
    for (const store of waiting) await store()

    expect(await running).toMatchObject({ code: 0, report: { ok: true, stored: 65, lost: 0 } })
  })

  test('counts a second copy that is still in the queue when the first is stored', async () => {
    const database = await createTestDatabase()
    await database.pool.query('DROP INDEX idx_chat_messages_wa_message_id_unique')
    let queue = Promise.resolve()
    const { url } = await startReceiver(database, async (webhook) => {
      queue = queue.then(() => webhook.store(webhook.jobs))
      return 200
    })

    const { report } = await simulate(database, url, ['--messages', '300', '--redeliveries', '1'])
    await queue

    expect(report.messages.doubled).toBe(await countDoubled(database))
    expect(report.messages.doubled).toBeGreaterThan(200)
  })

  test('counts what was stored without an answer apart from what was lost', async () => {
    const database = await createTestDatabase()
    let poison: string | undefined
    const { url } = await startReceiver(database, async (webhook) => {
      await storeAll(webhook)
      poison ??= webhook.number === 5 ? webhook.jobs[0]?.job_id : undefined
      return webhook.jobs[0]?.job_id === poison ? 500 : 200
    })

    const { code, report } = await simulate(database, url, [
      ...['--messages', '100', '--mix', 'text=1', '--batch', '2', '--redeliveries', '0', '--timeout', '1'],
    ])

    expect(report).toMatchObject({
      ok: false,
      doubled: 0,
      lost: 0,
      messages: { sent: 100, acknowledged: 98, stored: 100, stored_unacknowledged: 2 },
      webhooks: { never_acknowledged: 1 },
    })
    expect(code).toBe(1)
  })
})

describe('sending', () => {
  test('sends again whatever is not answered with 200', async () => {
    const database = await createTestDatabase()
    const { url } = await startReceiver(database, async (webhook) => {
      if (webhook.number % 3 === 0) return 503
      return storeAll(webhook)
    })

    const { code, report } = await simulate(database, url, ['--messages', '100'])

    expect(report.webhooks.refused).toBeGreaterThan(5)
    expect(report.webhooks.retries).toBe(report.webhooks.refused)
    expect(report).toMatchObject({ ok: true, stored: 130 })
    expect(code).toBe(0)
  })

  test('leaves the rest unsent when the service stops answering', async () => {
    const database = await createTestDatabase()
    const { url } = await startReceiver(database, async (webhook) =>
      webhook.number > 20 ? 503 : storeAll(webhook),
    )

    const { code, report } = await simulate(database, url, [
      ...['--messages', '500', '--batch', '1', '--redeliveries', '0', '--concurrency', '4', '--timeout', '1'],
    ])

    expect(report).toMatchObject({ ok: false, acknowledged: 20, stored: 20, doubled: 0, lost: 0 })
    expect(report.webhooks.never_acknowledged).toBe(630)
    expect(report.webhooks.not_sent).toBeGreaterThan(600)
    expect(code).toBe(1)
  })

  test('sends all batches in the size that was asked for, at the rate that was asked for', async () => {
    const database = await createTestDatabase()
    const { url, webhooks } = await startReceiver(database)

    const { report } = await simulate(database, url, [
      ...[
        '--messages',
        '100',
        '--mix',
        'text=1,image=1',
        '--batch',
        '10',
        '--redeliveries',
        '0',
        '--rate',
        '20',
      ],
    ])

    expect(webhooks.map(({ jobs }) => jobs.length)).toEqual(Array(10).fill(10))
    expect(report.sending_ms).toBeGreaterThanOrEqual(450)
  })

  test('sends a redelivery with the bytes of the first time', async () => {
    const database = await createTestDatabase()
    const { url, webhooks } = await startReceiver(database)

    const { report } = await simulate(database, url, ['--messages', '100', '--redeliveries', '2'])

    const bodies = new Map<string, number>()
    for (const { body } of webhooks) bodies.set(body.toString(), (bodies.get(body.toString()) ?? 0) + 1)
    const first = report.webhooks.sent - report.webhooks.redeliveries
    expect(bodies.size).toBe(first)
    expect([...bodies.values()].filter((times) => times === 3)).toHaveLength(first - 1)
  })

  test('repeats the traffic of a seed under other message ids', async () => {
    const database = await createTestDatabase()
    const { url, webhooks } = await startReceiver(database)
    const args = ['--messages', '30', '--seed', '7', '--redeliveries', '0', '--concurrency', '1']

    await simulate(database, url, args)
    const first = webhooks.splice(0)
    await simulate(database, url, args)

    const texts = (list: typeof webhooks) =>
      list.flatMap(({ jobs }) => jobs.map(({ event }) => JSON.parse(event.payload).text))
    expect(texts(webhooks)).toEqual(texts(first))
    expect(await countRows(database)).toEqual({ chat_messages: 60, message_statuses: 18 })
  })
})

describe('a run that cannot work', () => {
  test('says in one line that no service is there', async () => {
    const database = await createTestDatabase()
    const url = `http://127.0.0.1:${await findFreePort()}`

    const { code, stdout, stderr } = await runSimulate(database, ['--url', url])

    expect(stderr).toBe(
      `wa-ingest simulate: no wa-ingest at ${url}/webhooks/meta (ECONNREFUSED): start it with npm start, or give its address with --url\n`,
    )
    expect(stdout).toBe('')
    expect(code).toBe(1)
  })

  test('says after a single webhook that the app secret is another one', async () => {
    const database = await createTestDatabase()
    const { url, webhooks } = await startReceiver(database)

    const { code, stderr } = await runSimulate(database, ['--url', url, '--secret', 'another'])

    expect(stderr).toMatch(/^wa-ingest simulate: \S+ answered 401: .*app secret.*META_APP_SECRET.*\n$/)
    expect(webhooks).toHaveLength(1)
    expect(code).toBe(1)
  })

  test('sends nothing when the database is not one of ours', async () => {
    const database = await createEmptyDatabase()
    const { url, webhooks } = await startReceiver(await createTestDatabase())

    const { code, stderr } = await runSimulate(database, ['--url', url])

    expect(stderr).toMatch(
      /^wa-ingest simulate: cannot count in the database .* has no table chat_messages.*\n$/,
    )
    expect(stderr).toContain(database.name)
    expect(webhooks).toHaveLength(0)
    expect(code).toBe(1)
  })

  test('never shows the password of a database that is away', async () => {
    const port = await findFreePort()

    const { code, stderr } = await runSimulate({ url: `postgres://me:hidden@127.0.0.1:${port}/chats` }, [])

    expect(stderr).toMatch(/^wa-ingest simulate: cannot count in the database 127\.0\.0\.1:\d+\/chats: .*\n$/)
    expect(code).toBe(1)
  })

  test('ends with 130 on Ctrl-C, without a stack', async () => {
    const database = await createTestDatabase()
    const { url, webhooks } = await startReceiver(database, () => new Promise(() => {}))

    const child = startCli(['simulate', '--url', url], { env: environment(database) })
    await expect.poll(() => webhooks.length, { timeout: 10_000 }).toBe(1)
    child.kill('SIGINT')

    expect(await child.ended).toEqual({ code: 130, signal: null })
    expect(child.stderr).toBe('')
  })

  test.each([
    [['--messages', 'many'], '--messages takes a whole number'],
    [['--batch', '1001'], '--batch takes a whole number from 1 to 1000'],
    [['--mix', 'video=1'], '--mix takes text='],
    [['--mix', 'statuses=1'], '--mix has no messages'],
    [['--url', 'ftp://example.com'], '--url takes an address'],
    [['--message', '10'], 'did you mean --messages?'],
  ])('explains the wrong option %j and ends with 2', async (args, message) => {
    const { code, stderr } = await runSimulate({ url: 'postgres://unused' }, args)

    expect(stderr).toContain(message)
    expect(code).toBe(2)
  })
})

test('prints the result as a table for people', async () => {
  const database = await createTestDatabase()
  const { url } = await startReceiver(database)

  const { stdout } = await runSimulate(database, ['--url', url, '--messages', '20', '--redeliveries', '0'])

  expect(stdout).toMatch(/^messages +20 +20 +20 +0 +0$/m)
  expect(stdout).toMatch(/^statuses +6 +6 +6 +0 +0$/m)
  expect(stdout).toMatch(/everything acknowledged is stored exactly once\n$/)
})

type Target = Pick<TestDatabase, 'url'>

async function simulate(database: Target, url: string, args: readonly string[]) {
  const { code, stdout, stderr } = await runSimulate(database, ['--url', url, '--json', ...args])
  expect(stderr).toBe('')
  return { code, report: JSON.parse(stdout) as Report }
}

async function runSimulate(database: Target, args: readonly string[]) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const { signal } = new AbortController()
  const code = await main(['simulate', ...args], { env: environment(database), stdout, stderr, signal })
  stdout.end()
  stderr.end()
  return { code, stdout: await text(stdout), stderr: await text(stderr) }
}

function environment(database: Target) {
  return { DATABASE_URL: database.url, META_APP_SECRET: APP_SECRET, DATA_DIR: createTempDirectory() }
}

async function countRows({ pool }: TestDatabase) {
  const { rows } = await pool.query(`
    SELECT (SELECT count(*)::int FROM chat_messages) AS chat_messages,
           (SELECT count(*)::int FROM message_statuses) AS message_statuses`)
  return rows[0]
}

/** How many scans of the table of messages PostgreSQL has counted. */
async function countLooks({ pool }: TestDatabase): Promise<number> {
  const { rows } = await pool.query(
    `SELECT seq_scan + idx_scan AS looks FROM pg_stat_user_tables WHERE relname = 'chat_messages'`,
  )
  return Number(rows[0].looks)
}

async function countDoubled({ pool }: TestDatabase): Promise<number> {
  const { rows } = await pool.query(
    'SELECT wa_message_id FROM chat_messages GROUP BY wa_message_id HAVING count(*) > 1',
  )
  return rows.length
}
