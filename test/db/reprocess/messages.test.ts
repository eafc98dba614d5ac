import { beforeEach, describe, expect, test } from 'vitest'
import { reprocessMessages } from '../../../src/db/reprocess/messages.ts'
import { IMAGE, MESSAGE_FIXTURES } from '../../providers/meta/fixtures.ts'
import { eventually } from '../../support/eventually.ts'
import { createMarker } from '../../support/hostile/marks.ts'
import { META_WEBHOOKS, TWILIO_FORMS } from '../../support/hostile/well-formed.ts'
import { metaChange, metaMessage, metaMessagesWebhook, metaWebhook } from '../../support/meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import {
  dump,
  EVERYTHING,
  metaJobs,
  PARSER,
  reprocessOptions,
  storeJobs,
  twilioJobs,
} from '../../support/reprocessing.ts'
import { twilioMessage } from '../../support/twilio-webhooks.ts'

/** What an older release, which knew none of it, had stored. */
const OLD_COLUMNS = `message_type = 'unknown', content = NULL, reply_to_wa_message_id = NULL,
  target_wa_message_id = NULL, forwarded = false, frequently_forwarded = false, referral = NULL, media_id = NULL,
  media_url = NULL, media_mime_type = NULL, media_sha256 = NULL, media_filename = NULL, media_voice = NULL,
  media = NULL, error = CASE WHEN status IS NULL THEN NULL ELSE error END, sent_at = NULL`

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const reprocess = (options = {}) => reprocessMessages(database.db, PARSER, reprocessOptions(options))
const run = (statement: string, values: unknown[] = []) => database.pool.query(statement, values)
const messages = async () =>
  (await run('SELECT to_jsonb(m) - $1 AS row FROM chat_messages m ORDER BY id', ['updated_at'])).rows
const changes = async () => (await run('SELECT kind, message_id FROM changes ORDER BY id')).rows
const storeTexts = (count: number) =>
  storeJobs(database, metaJobs(metaMessagesWebhook(Array.from({ length: count }, () => metaMessage()))))

describe('a message that an older release stored', () => {
  test('becomes what this release stores, for every type of message, and the change is announced', async () => {
    const marker = createMarker()
    await storeJobs(
      database,
      META_WEBHOOKS.flatMap((build) => metaJobs(build(marker))),
    )
    await storeJobs(
      database,
      TWILIO_FORMS.flatMap((build) => twilioJobs(build(marker))),
    )
    const expected = await messages()
    await run(`UPDATE chat_messages SET ${OLD_COLUMNS}`)
    await run('DELETE FROM changes')

    const tally = await reprocess()

    expect(await messages()).toEqual(expected)
    expect(expected.length).toBeGreaterThan(MESSAGE_FIXTURES.length)
    expect(tally).toEqual({ examined: expected.length, changed: expected.length, left: 0 })
    expect(new Set((await changes()).map(({ kind }) => kind))).toEqual(new Set(['message.updated']))
    expect(await changes()).toHaveLength(expected.length)
  })

  test('is read from the exact text where jsonb could not hold it', async () => {
    const message = metaMessage({
      id: 'wamid.A',
      text: { body: 'a\u0000b' },
      type: 'hologram',
      hologram: { body: 'c\u0000d' },
    })
    await storeJobs(database, metaJobs(metaMessagesWebhook([message])))
    const expected = await messages()
    await run(
      `UPDATE chat_messages SET ${OLD_COLUMNS}, payload = '{"id":"wamid.A","text":{"body":"not this"}}'`,
    )

    await reprocess()

    expect((await messages())[0]?.row).toMatchObject({
      message_type: 'hologram',
      content: expected[0]?.row.content,
    })
  })

  test('keeps its id, conversation, direction, status, and a time that the payload does not have', async () => {
    await storeJobs(database, twilioJobs(twilioMessage()))
    const kept = `direction = 'outbound', status = 'read', error = '[{"code":1}]', provider = 'twilio', detail = 99,
      client_message_id = 'mine', sent_at = '2026-01-01T00:00:00Z'`
    await run(`UPDATE chat_messages SET ${kept}`)
    const expected = await messages()
    await run(`UPDATE chat_messages SET content = 'misread'`)

    expect(await reprocess()).toMatchObject({ changed: 1 })

    expect(await messages()).toEqual(expected)
  })
})

describe('nothing changes', () => {
  test('in what this release has stored, hostile texts included, and no row is written', async () => {
    const marker = createMarker()
    await storeJobs(
      database,
      META_WEBHOOKS.flatMap((build) => metaJobs(build(marker))),
    )
    await storeJobs(
      database,
      TWILIO_FORMS.flatMap((build) => twilioJobs(build(marker))),
    )
    const hostile = [
      { text: { body: 'a\u0000b\ud800' }, referral: { source_id: 'x\u0000' } },
      { type: 'location', location: { latitude: 1e-7, longitude: '-0.0' } },
      { type: 'interactive', interactive: { z: { title: 'z' }, aa: { title: 'aa' }, b: { title: 'b' } } },
      { type: 'x'.repeat(5_000), text: 7, errors: [{ code: 1 }], timestamp: '99999999999999' },
    ]
    await storeJobs(database, metaJobs(metaMessagesWebhook(hostile.map((fields) => metaMessage(fields)))))
    const before = await dump(database, ...EVERYTHING)

    expect(await reprocess()).toMatchObject({ changed: 0, left: 0 })

    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test('in a second run', async () => {
    await storeTexts(5)
    await run(`UPDATE chat_messages SET ${OLD_COLUMNS}`)
    await reprocess()
    const before = await dump(database, ...EVERYTHING)

    expect(await reprocess()).toEqual({ examined: 5, changed: 0, left: 0 })

    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test('in a dry run, which counts what would change', async () => {
    await storeTexts(5)
    await run(`UPDATE chat_messages SET content = 'misread' WHERE id % 2 = 0`)
    const before = await dump(database, ...EVERYTHING)

    expect(await reprocess({ isDryRun: true })).toMatchObject({ examined: 5, changed: 2 })

    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test.each([
    ['an adopted row whose payload is something else', `payload = '{"text":"from long ago"}'`],
    ['a payload of another message', `payload = payload || '{"id":"wamid.other"}'`],
    [
      'a payload that is a whole webhook',
      `payload = jsonb_build_object('entry', jsonb_build_array(payload))`,
    ],
    ['a payload that is a list', `payload = jsonb_build_array(payload)`],
  ])('in %s', async (_what, change) => {
    await storeTexts(1)
    await run(`UPDATE chat_messages SET content = 'as it was', ${change}`)
    const before = await messages()

    expect(await reprocess()).toEqual({ examined: 1, changed: 0, left: 1 })

    expect(await messages()).toEqual(before)
  })

  test.each([
    `source = 'api'`,
    `source = 'backfill'`,
    'payload = NULL',
    'wa_message_id = NULL',
    `wa_message_id = ''`,
  ])('in a row that did not come as a webhook: %s', async (change) => {
    await storeTexts(1)
    await run(`UPDATE chat_messages SET content = 'as it was', ${change}`)
    const before = await messages()

    expect(await reprocess()).toEqual({ examined: 0, changed: 0, left: 0 })

    expect(await messages()).toEqual(before)
  })
})

describe('many rows', () => {
  test('are all read, however small the batches are', async () => {
    await storeTexts(10)
    await run(`UPDATE chat_messages SET ${OLD_COLUMNS}`)
    const examined: number[] = []

    const tally = await reprocess({ batchSize: 3, onProgress: (count: number) => examined.push(count) })

    expect(tally).toEqual({ examined: 10, changed: 10, left: 0 })
    expect(examined).toEqual([3, 6, 9, 10])
  })

  test('with large payloads are read a few at a time', async () => {
    const large = Array.from({ length: 5 }, () => metaMessage({ text: { body: 'x'.repeat(60_000) } }))
    await storeJobs(database, metaJobs(metaMessagesWebhook(large)))
    const examined: number[] = []

    await reprocess({ maxBatchBytes: 150_000, onProgress: (count: number) => examined.push(count) })
    await reprocess({ maxBatchBytes: 1, onProgress: (count: number) => examined.push(count) })

    expect(examined).toEqual([3, 5, 1, 2, 3, 4, 5])
  })

  test('may be stopped between two batches, and the next run does the rest', async () => {
    await storeTexts(10)
    await run(`UPDATE chat_messages SET ${OLD_COLUMNS}`)
    const controller = new AbortController()

    const stopped = await reprocess({
      batchSize: 4,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    })
    const rest = await reprocess({ batchSize: 4 })

    expect(stopped).toEqual({ examined: 4, changed: 4, left: 0 })
    expect(rest).toEqual({ examined: 10, changed: 6, left: 0 })
  })

  test('are those received since a date, where one is given', async () => {
    await storeTexts(3)
    await run(`UPDATE chat_messages SET content = 'misread'`)
    await run(
      `UPDATE chat_messages SET received_at = '2026-07-01T00:00:00Z' WHERE id = (SELECT max(id) FROM chat_messages)`,
    )

    expect(await reprocess({ since: new Date('2026-06-15') })).toEqual({ examined: 1, changed: 1, left: 0 })
  })
})

test('a message whose placeholder is replaced meanwhile has the columns of its replacement', async () => {
  const placeholder = metaMessage({ id: 'wamid.A', type: 'media_placeholder' })
  await storeJobs(database, metaJobs(metaWebhook([metaChange({ messages: [placeholder] }, 'history')])))
  await run(`UPDATE chat_messages SET content = 'misread'`)
  const other = await database.pool.connect()
  await other.query('BEGIN')
  await other.query('SELECT FROM chat_messages FOR UPDATE')

  const reprocessing = reprocess()
  await eventually(async () => {
    const { rows } = await run(
      `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = $1`,
      [database.name],
    )
    expect(rows).toHaveLength(1)
  })
  const image = { ...placeholder, type: 'image', image: { ...IMAGE, caption: 'Our garden' } }
  await other.query(`UPDATE chat_messages SET payload = $1, message_type = 'image', content = 'Our garden'`, [
    JSON.stringify(image),
  ])
  await other.query('COMMIT')
  other.release()
  await reprocessing

  expect((await messages())[0]?.row).toMatchObject({
    message_type: 'image',
    content: 'Our garden',
    media_id: IMAGE.id,
  })
})
