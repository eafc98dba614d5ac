import { beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { holding } from '../support/fake-server.ts'
import {
  type FakeTwilio,
  startFakeTwilio,
  TWILIO_SENDING_ACCOUNT,
  twilioError,
} from '../support/fake-twilio.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startCli } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { TWILIO_AUTH_TOKEN } from '../support/twilio-webhooks.ts'
import { runCommand } from './run-command.ts'

let database: TestDatabase
let twilio: FakeTwilio

beforeEach(async () => {
  database = await createTestDatabase()
  twilio = await startFakeTwilio({ behavioursFor: 'reads' })
})

const environment = () => ({
  DATABASE_URL: database.url,
  TWILIO_ACCOUNT_SID: TWILIO_SENDING_ACCOUNT,
  TWILIO_AUTH_TOKEN,
  TWILIO_API_URL: twilio.url,
})
const run = (args: readonly string[] = [], env: Record<string, string> = {}) =>
  runCommand(['backfill', ...args], { ...environment(), ...env })
const start = (...args: string[]) =>
  startCli(['backfill', ...args], { env: { ...environment(), DATA_DIR: createTempDirectory() } })
const count = async () =>
  Number((await database.pool.query('SELECT count(*) FROM chat_messages')).rows[0]?.count)

describe('wa-ingest backfill', () => {
  test('says what it read and what it stored, and the second time that nothing was missing', async () => {
    twilio.put()
    twilio.put({ direction: 'outbound-api' })
    twilio.put({ from: '+15551230001', to: '+15550001234' })

    const first = await run()
    const second = await run()

    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(/messages read +2\nstored +2\nstatuses stored +1\n/)
    expect(first.stdout).toMatch(/other channels, left alone +1\n/)
    expect(second.stdout).toMatch(/stored +0\nstatuses stored +0\n/)
  })

  test('says it as one JSON document', async () => {
    twilio.put()

    const { code, stdout, stderr } = await run(['--json', '--since', '2026-01-01', '--dry-run'])

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({
      dry_run: true,
      since: '2026-01-01T00:00:00.000Z',
      until: expect.stringMatching(/^2\d{3}-/),
      examined: 1,
      stored: 1,
      statuses: 0,
      identified: 0,
      held_back: 0,
      parked: 0,
      other_channels: 0,
      stopped: false,
    })
    expect(await count()).toBe(0)
  })

  test('as a process: killed midway, the next one goes on, and everything is stored once', async () => {
    // Longer ago than the overlap, which would hide a position that was moved too early.
    for (let index = 0; index < 250; index++) twilio.put({}, 20 * 60)
    const held = holding()
    // The days without messages come first.
    twilio.always((call, exchange) =>
      call.path.includes('PageToken') ? held.behaviour(call, exchange) : exchange.succeed(),
    )
    const first = start('--since', yesterday())
    await held.reached()
    await eventually(async () => expect(await count()).toBe(100))
    first.killGroup()
    await first.ended
    held.release()
    twilio.always((_, exchange) => exchange.succeed())

    const second = start('--json')
    const { code } = await second.ended

    expect(code).toBe(0)
    expect(JSON.parse(second.stdout)).toMatchObject({ examined: 250, stored: 150, stopped: false })
    expect(await count()).toBe(250)
  })

  test('as a process: Ctrl-C ends it with 130, and says that it can go on', async () => {
    const held = holding()
    twilio.next(held.behaviour)
    const command = start()
    await held.reached()

    const { code } = await command.stop({ signal: 'SIGINT' })
    held.release()

    expect(code).toBe(130)
    expect(command.stdout).toMatch(/Stopped\. The same command goes on from there\./)
  })
})

describe('what it needs', () => {
  test.each([
    [
      { TWILIO_ACCOUNT_SID: '', TWILIO_AUTH_TOKEN: '' },
      /not set: TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN; both are under/,
    ],
    [{ TWILIO_ACCOUNT_SID: '' }, /not set: TWILIO_ACCOUNT_SID;/],
    [{ TWILIO_AUTH_TOKEN: '' }, /TWILIO_ACCOUNT_SID is set without TWILIO_AUTH_TOKEN/],
    [{ TWILIO_ACCOUNT_SID: 'AC1' }, /TWILIO_ACCOUNT_SID must be AC and 32/],
  ])('is told when it is missing or wrong: %j', async (env, words) => {
    const { code, stderr } = await run([], env)

    expect(stderr).toMatch(words)
    expect(code).toBe(1)
    expect(twilio.calls).toEqual([])
  })

  test('a database of this version', async () => {
    const empty = await createEmptyDatabase()

    const { code, stderr } = await run([], { DATABASE_URL: empty.url })

    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('wa-ingest migrate') })
  })

  test.each([
    [['--since', 'yesterday'], /--since takes a date such as/],
    [['--since', '2999-01-01'], /--since is in the future/],
    [['--sinse', '2026-01-01'], /did you mean --since/],
  ])('a command line that makes sense: %j', async (args, words) => {
    const { code, stderr } = await run(args)

    expect(stderr).toMatch(words)
    expect(code).toBe(2)
  })
})

describe('when Twilio does not answer with its list', () => {
  test('wrong credentials: what to look at, and no token', async () => {
    twilio.next(twilioError(20003, { status: 401, message: `Authenticate ${TWILIO_AUTH_TOKEN}` }))

    const { code, stderr } = await run()

    expect(stderr).toMatch(
      /refuses the credentials \(HTTP 401, 20003: Authenticate \[hidden\]\); TWILIO_ACCOUNT_SID/,
    )
    expect(code).toBe(1)
  })

  test('too many requests for longer than it waits: when to try again, and that it goes on', async () => {
    twilio.next((_, exchange) => exchange.answer(429, { code: 20429 }, { 'retry-after': '120' }))

    const { code, stderr } = await run()

    expect(stderr).toMatch(
      /no more requests at the moment.*try again in 120 s\nWhat was read until then is stored/,
    )
    expect(code).toBe(1)
  })

  test('nobody there: which address', async () => {
    const { code, stderr } = await run([], { TWILIO_API_URL: 'http://127.0.0.1:1' })

    expect(stderr).toMatch(
      /http:\/\/127\.0\.0\.1:1 cannot be reached .*; check the network and TWILIO_API_URL/,
    )
    expect(code).toBe(1)
  })

  test('a list that turns in circles: ended, and no position saved for that day', async () => {
    twilio.always((call, exchange) => exchange.answer(200, { messages: [], next_page_uri: call.path }))

    const { code, stderr } = await run()

    expect(stderr).toMatch(/repeats itself/)
    expect(code).toBe(1)
    expect((await database.pool.query('SELECT FROM backfill_positions')).rows).toEqual([])
  })

  test('a page that repeats the one before: each message once', async () => {
    twilio.put()
    let pages = 0
    twilio.always((_, exchange) => {
      pages++
      exchange.answer(200, {
        messages: twilio.messages,
        next_page_uri: pages < 4 ? `/2010-04-01/Accounts/AC/Messages.json?Page=${pages}` : null,
      })
    })

    const { stdout } = await run(['--json'])

    expect(JSON.parse(stdout)).toMatchObject({ stored: 1 })
    expect(await count()).toBe(1)
  })
})

function yesterday(): string {
  return new Date(Date.now() - 24 * 60 * 60_000).toISOString()
}
