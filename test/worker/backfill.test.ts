import { beforeEach, describe, expect, test } from 'vitest'
import { backFill, deliverTwilio } from '../support/backfilling.ts'
import { stopClockAtNoon } from '../support/clock.ts'
import { type FakeTwilio, listedMessage, startFakeTwilio, twilioTime } from '../support/fake-twilio.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { dump, EVERYTHING } from '../support/reprocessing.ts'
import { twilioMessage, twilioStatus } from '../support/twilio-webhooks.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

let database: TestDatabase
let twilio: FakeTwilio

beforeEach(async () => {
  database = await createTestDatabase()
  twilio = await startFakeTwilio()
})

const run = (options: Parameters<typeof backFill>[2] = {}) => backFill(database, twilio, options)
const messages = async () =>
  (await database.pool.query('SELECT * FROM chat_messages ORDER BY sent_at, id')).rows
const sids = async () => (await messages()).map((row) => row.wa_message_id)
const position = async () =>
  (await database.pool.query('SELECT position FROM backfill_positions')).rows[0]?.position as Date | undefined

describe('a missing message', () => {
  test('received, or sent by another tool: stored with time, contact, text and status', async () => {
    const received = twilio.put({ body: 'Is it still there?' }, 90)
    const sent = twilio.put({ direction: 'outbound-api', body: 'Yes', status: 'read' }, 80)

    const report = await run()

    expect(report).toMatchObject({ examined: 2, stored: 2, statuses: 1, parked: 0, stopped: false })
    const [first, second, ...others] = await messages()
    expect(others).toEqual([])
    expect(first).toMatchObject({
      wa_message_id: received.sid,
      direction: 'inbound',
      source: 'backfill',
      message_type: 'text',
      content: 'Is it still there?',
      status: null,
      payload: received,
      sent_at: new Date(String(received.date_created)),
    })
    expect(second).toMatchObject({
      wa_message_id: sent.sid,
      direction: 'outbound',
      status: 'read',
      content: 'Yes',
    })
    expect(second.conversation_id).toBe(first.conversation_id)
    const { rows } = await database.pool.query(
      `SELECT c.provider, c.business_number, c.last_message_at, p.phone FROM conversations c JOIN contacts p ON p.id = c.contact_id`,
    )
    expect(rows).toEqual([
      {
        provider: 'twilio',
        business_number: '15550001234',
        last_message_at: new Date(String(sent.date_created)),
        phone: '15551230001',
      },
    ])
  })

  test('with its files: their addresses, types and ids', async () => {
    const { sid } = twilio.put({ sid: `MM${'a'.repeat(32)}`, body: 'Two of them', num_media: '2' })
    twilio.files.set(sid, [
      { sid: `ME${'1'.repeat(32)}`, content_type: 'image/jpeg' },
      { sid: `ME${'2'.repeat(32)}`, content_type: 'application/pdf' },
    ])

    await run()

    const [message] = await messages()
    expect(message).toMatchObject({
      message_type: 'image',
      content: 'Two of them',
      media_mime_type: 'image/jpeg',
      media_id: `ME${'1'.repeat(32)}`,
    })
    expect(message.media_url).toMatch(/\/2010-04-01\/Accounts\/AC\w{32}\/Messages\/MMa{32}\/Media\/ME1{32}$/)
    expect(message.media).toMatchObject([{ mime_type: 'image/jpeg' }, { mime_type: 'application/pdf' }])
  })

  test('of a message whose files are gone: the message without them', async () => {
    twilio.put({ body: '', num_media: '1' })

    expect(await run()).toMatchObject({ stored: 1 })

    expect(await messages()).toMatchObject([{ message_type: 'document', content: null, media_url: null }])
  })

  test('from a contact whose number is hidden: one contact with that user id', async () => {
    twilio.put({ from: 'whatsapp:US.13491208655302741918' })

    await run()

    const { rows } = await database.pool.query('SELECT kind, value FROM contact_identifiers')
    expect(rows).toEqual([{ kind: 'user_id', value: 'US.13491208655302741918' }])
  })

  test('that another tool sent and that failed: stored with the error of Twilio', async () => {
    twilio.put({ direction: 'outbound-api', status: 'undelivered', error_code: 63024, error_message: 'no' })

    await run()

    expect(await messages()).toMatchObject([
      { status: 'undelivered', error: [{ code: 63024, message: 'no' }] },
    ])
  })
})

describe('a status that has no rank', () => {
  test('is recorded, and does not become the status of the message', async () => {
    twilio.put({ direction: 'outbound-api', status: 'partially_delivered' })

    expect(await run()).toMatchObject({ stored: 1, statuses: 1 })

    expect(await messages()).toMatchObject([{ status: null }])
  })
})

describe('not stored', () => {
  test('SMS of the same account, in both directions', async () => {
    twilio.put({ from: '+15551230001', to: '+15550001234' })
    twilio.put({ direction: 'outbound-api', from: '+15550001234', to: '+15551230001' })

    expect(await run()).toMatchObject({ examined: 0, stored: 0, other_channels: 2 })

    expect(await messages()).toEqual([])
  })

  test('messages younger than 15 minutes, until they are older', async () => {
    const young = twilio.put({}, 14)
    const old = twilio.put({}, 16)

    await run()
    expect(await sids()).toEqual([old.sid])
    young.date_created = young.date_sent = twilioTime(Date.now() - 15 * MINUTE - 1_000)
    await run()

    expect((await sids()).sort()).toEqual([old.sid, young.sid].sort())
  })

  test('messages that were scheduled or canceled, and not sent', async () => {
    for (const status of ['scheduled', 'canceled']) twilio.put({ direction: 'outbound-api', status })

    expect(await run()).toMatchObject({ examined: 0, stored: 0 })
  })

  test('entries that are no messages', async () => {
    twilio.put({ sid: 'wait' })
    twilio.put({ from: null })
    twilio.put({ date_created: 'yesterday' })

    expect(await run()).toMatchObject({ examined: 0, stored: 0, parked: 0 })
  })

  test('everything, in a dry run: it only counts', async () => {
    twilio.put()
    const before = await dump(database, ...EVERYTHING)

    expect(await run({ isDryRun: true })).toMatchObject({ stored: 1 })

    expect(await dump(database, ...EVERYTHING)).toEqual(before)
    expect(await position()).toBeUndefined()
  })
})

describe('webhooks and the list', () => {
  test('a webhook after the list adds what the list did not have, and keeps the time', async () => {
    const sid = `MM${'b'.repeat(32)}`
    const listed = twilio.put({ sid, body: '', num_media: '1' })
    await run()
    const [before] = await messages()

    const outcomes = await deliverTwilio(
      database,
      twilioMessage({
        MessageSid: sid,
        Body: undefined,
        MessageType: 'button',
        ButtonText: 'Yes, please',
        NumMedia: '1',
        MediaUrl0: `https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/${sid}/Media/ME${'3'.repeat(32)}`,
        MediaContentType0: 'image/png',
        OriginalRepliedMessageSid: `SM${'c'.repeat(32)}`,
        Forwarded: 'true',
        ReferralCtwaClid: 'click',
      }),
    )

    expect(outcomes).toEqual(['merged'])
    const [after, ...others] = await messages()
    expect(others).toEqual([])
    expect(after).toMatchObject({
      id: before.id,
      source: 'webhook',
      message_type: 'button',
      content: 'Yes, please',
      media_mime_type: 'image/png',
      media_url: expect.stringContaining('https://api.twilio.com/'),
      reply_to_wa_message_id: `SM${'c'.repeat(32)}`,
      forwarded: true,
      referral: { num_media: '0', ctwa_clid: 'click' },
      payload: { WaId: '15551230001', ProfileName: 'Ada Example' },
      sent_at: new Date(String(listed.date_created)),
    })
    const { rows } = await database.pool.query('SELECT name, phone FROM contacts')
    expect(rows).toEqual([{ name: 'Ada Example', phone: '15551230001' }])
  })

  test('a webhook that comes twice after the list: the second one changes nothing', async () => {
    const { sid } = twilio.put()
    await run()
    await deliverTwilio(database, twilioMessage({ MessageSid: sid }))
    const before = await dump(database, 'chat_messages', 'changes', 'contacts')

    expect(await deliverTwilio(database, twilioMessage({ MessageSid: sid }))).toEqual(['duplicate'])

    expect(await dump(database, 'chat_messages', 'changes', 'contacts')).toEqual(before)
  })

  test('a list after the webhooks changes nothing', async () => {
    const received = twilio.put({ num_media: '1' }, 30)
    twilio.files.set(received.sid, [{ sid: `ME${'1'.repeat(32)}`, content_type: 'image/jpeg' }])
    const sent = twilio.put({ direction: 'outbound-api' }, 30)
    await deliverTwilio(database, twilioMessage({ MessageSid: received.sid }))
    await run()
    await deliverTwilio(database, twilioStatus('delivered', { MessageSid: sent.sid }))
    const before = await dump(database, ...EVERYTHING, 'counters')
    twilio.calls.length = 0

    expect(await run()).toMatchObject({ examined: 2, stored: 0, statuses: 0 })

    expect(await dump(database, ...EVERYTHING, 'counters')).toEqual(before)
    expect(twilio.calls.filter(({ path }) => path.includes('/Media'))).toEqual([])
  })

  test('statuses that were missed move a message forward, and those that come late never back', async () => {
    const sent = twilio.put({ direction: 'outbound-api', status: 'sent' })
    await run()
    await deliverTwilio(database, twilioStatus('read', { MessageSid: sent.sid }))
    sent.status = 'delivered'

    expect(await run()).toMatchObject({ stored: 0, statuses: 1 })
    expect(await messages()).toMatchObject([{ status: 'read' }])

    const other = twilio.put({ direction: 'outbound-api', status: 'queued' })
    await run()
    for (const [word, status] of [
      ['sent', 'sent'],
      ['delivered', 'delivered'],
      ['partially_delivered', 'delivered'],
      ['sent', 'delivered'],
    ]) {
      other.status = word
      await run()
      const row = (await messages()).find(({ wa_message_id }) => wa_message_id === other.sid)
      expect(row.status).toBe(status)
    }
  })

  test('both at the same moment: one message, as the webhook has it', async () => {
    const entries = Array.from({ length: 20 }, () => twilio.put())

    await Promise.all([
      run(),
      ...entries.map(({ sid }) => deliverTwilio(database, twilioMessage({ MessageSid: sid }))),
    ])

    const rows = await messages()
    expect(rows).toHaveLength(20)
    expect(rows.filter(({ source }) => source !== 'webhook')).toEqual([])
  })
})

describe('the position', () => {
  test('the first run goes back a day, or to the last stored message', async () => {
    const old = twilio.put({}, 3 * 24 * 60)
    const recent = twilio.put({}, 20 * 60)
    await run()
    expect(await sids()).toEqual([recent.sid])

    await database.pool.query(`DELETE FROM backfill_positions`)
    await database.pool.query(`UPDATE conversations SET last_message_at = now() - interval '4 days'`)
    await run()

    expect(await sids()).toEqual([old.sid, recent.sid])
  })

  test('a run begins an hour before the end of the last one, and asks for no other day', async () => {
    await run()
    const end = await position()
    twilio.calls.length = 0

    const { since } = await run()

    expect(since).toEqual(new Date(Number(end) - 60 * MINUTE))
    const days = twilio.calls.map(({ path }) => new URL(path, twilio.url).searchParams.get('DateSent'))
    expect(days.at(-1)).toBe(new Date().toISOString().slice(0, 10))
    expect(days.length).toBeLessThanOrEqual(2)
  })

  test('days are GMT: messages from around midnight are stored', async () => {
    const midnight = Date.parse(new Date().toISOString().slice(0, 10)) - DAY
    const around = [-1_000, 0, 1_000].map((offset) => {
      const date = twilioTime(midnight + offset)
      return twilio.put({ date_created: date, date_sent: date, date_updated: date }).sid
    })

    await run({ since: new Date(midnight - DAY) })

    expect(await sids()).toEqual(around)
  })

  test('a run that begins after the position does not move it, so that there is no gap', async () => {
    await run()
    await database.pool.query(`UPDATE backfill_positions SET position = now() - interval '3 days'`)
    const end = await position()

    await run({ since: new Date(Date.now() - DAY) })
    expect(await position()).toEqual(end)
    await run({ since: new Date(Number(end) - DAY) })

    expect(Number(await position())).toBeGreaterThan(Number(end))
  })

  test('ends 15 minutes ago, by the clock that is behind: ours or that of Twilio', async () => {
    const end = Date.now() - 15 * MINUTE
    const { until } = await run()
    expect(Math.abs(Number(until) - end)).toBeLessThan(MINUTE)
    await database.pool.query('DELETE FROM backfill_positions')
    const reads = await startFakeTwilio({ behavioursFor: 'reads' })
    reads.always((_, exchange) =>
      exchange.answer(
        200,
        { messages: [], next_page_uri: null },
        { date: new Date(Date.now() - 3 * 60 * MINUTE).toUTCString() },
      ),
    )

    await backFill(database, reads)

    expect(Math.abs(Number(await position()) - (end - 3 * 60 * MINUTE))).toBeLessThan(MINUTE)
  })

  test('a run that was stopped midway leaves no gap: the next one goes on', async () => {
    const entries = Array.from({ length: 250 }, (_, index) => twilio.put({}, 30 * 60 + index).sid)
    const since = new Date(Date.now() - 5 * DAY)
    const stop = new AbortController()
    let pages = 0

    const report = await run({
      since,
      signal: stop.signal,
      onProgress: ({ examined }) => {
        if (examined > 0 && ++pages === 1) stop.abort()
      },
    })
    expect(report).toMatchObject({ stopped: true })
    expect(report.stored).toBeLessThan(250)
    const reached = await position()
    expect(Number(reached)).toBeLessThan(Date.now() - 24 * 60 * MINUTE)
    await run()

    expect((await sids()).sort()).toEqual(entries.sort())
    expect(Number(await position())).toBeGreaterThan(Number(reached))
  })

  test('messages that arrive while it reads are not lost and not doubled', async () => {
    stopClockAtNoon()
    const entries = Array.from({ length: 150 }, () => twilio.put({}, 60).sid)
    let arrived: string[] = []

    await run({
      onProgress: () => {
        if (arrived.length === 0)
          arrived = [twilio.put({}, 0).sid, twilio.put({}, 20).sid, twilio.put({}, 100).sid]
      },
    })
    for (const entry of twilio.messages)
      for (const name of ['date_created', 'date_sent'] as const)
        entry[name] = twilioTime(Date.parse(String(entry[name])) - 16 * MINUTE)
    await run()

    expect((await sids()).sort()).toEqual([...entries, ...arrived].sort())
  })

  test('two runs at the same time store everything once', async () => {
    const entries = Array.from({ length: 120 }, (_, index) => twilio.put({}, 60 + index).sid)

    await Promise.all([run(), run()])

    expect((await sids()).sort()).toEqual(entries.sort())
  })

  test('is read newest first only as far back as it has to be', async () => {
    for (let index = 0; index < 450; index++) {
      const date = twilioTime(Date.now() - 20 * MINUTE - index * 1_000)
      twilio.messages.push(listedMessage({ date_created: date, date_sent: date }))
    }

    await run({ since: new Date(Date.now() - 21 * MINUTE) })

    const reads = twilio.calls.filter(({ path }) => path.includes('DateSent'))
    expect(reads.length).toBeLessThan(5)
    expect((await messages()).length).toBeLessThan(100)
  })
})
