import { beforeEach, describe, expect, test } from 'vitest'
import type { WebhookEvent } from '../../../src/core/event.ts'
import type { ParkedFact } from '../../../src/core/fact.ts'
import { createEventStore } from '../../../src/db/ingest/event-store.ts'
import { reprocessParkedEvents } from '../../../src/db/reprocess/events.ts'
import { readStats } from '../../../src/db/views/stats.ts'
import { createMarker } from '../../support/hostile/marks.ts'
import { META_WEBHOOKS, TWILIO_FORMS } from '../../support/hostile/well-formed.ts'
import {
  metaChange,
  metaContact,
  metaMessage,
  metaMessagesWebhook,
  metaWebhook,
} from '../../support/meta-webhooks.ts'
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
import { twilioSid, twilioStatus } from '../../support/twilio-webhooks.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const park = (reason: string) => (): ParkedFact => ({ kind: 'parked', reason })
const reprocess = (options = {}) =>
  reprocessParkedEvents(
    { db: database.db, store: createEventStore({ db: database.db, isCounted: false }), parser: PARSER },
    reprocessOptions(options),
  )
const run = (statement: string) => database.pool.query(statement)
const rowsOf = async (table: string) => (await run(`SELECT * FROM ${table} ORDER BY id`)).rows
const bodyJob = (body: unknown, provider: 'meta' | 'twilio' = 'meta') => {
  const payload = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)).toString('base64')
  const event: WebhookEvent = { v: 1, kind: 'unreadable', provider, received_at: 1, payload }
  return { job_id: `event.${provider}`, event }
}

describe('an event that an older release could not understand', () => {
  test('is stored like a new one, whatever its kind; the parked row stays, with the reason and a mark', async () => {
    const marker = createMarker()
    const jobs = [
      ...META_WEBHOOKS.flatMap((build) => metaJobs(build(marker))),
      ...TWILIO_FORMS.flatMap((build) => twilioJobs(build(marker))),
    ]
    const asToday = await createTestDatabase()
    await storeJobs(asToday, jobs)
    await storeJobs(database, jobs, park('not understood by the older release'))
    const parked = (await rowsOf('webhook_events')).length

    const tally = await reprocess({ batchSize: 7 })

    expect(tally).toEqual({ examined: parked, recovered: parked, still_parked: 0, reasons: {} })
    for (const table of ['chat_messages', 'message_statuses', 'conversations', 'contacts']) {
      expect(await contentOf(database, table)).toEqual(await contentOf(asToday, table))
    }
    for (const row of await rowsOf('webhook_events')) {
      expect(row).toMatchObject({
        reason: 'not understood by the older release',
        reprocessed_at: expect.any(Date),
      })
    }
  })

  test('because its id is in another place is found by the id that it has now', async () => {
    const message = metaMessage({ id: 'wamid.A' })
    const context = '{"list":"messages","contact":{"wa_id":"15551230001","profile":{"name":"Ada Example"}}}'
    const event: WebhookEvent = {
      ...{ v: 1, kind: 'message', provider: 'meta', received_at: 1, business_number: '1', field: 'messages' },
      ...{ payload: JSON.stringify(message), context },
    }
    await storeJobs(database, [{ job_id: 'event.old', event }], park('message has no id'))

    await reprocess()

    expect(await rowsOf('chat_messages')).toMatchObject([{ wa_message_id: 'wamid.A', content: 'Hello' }])
    expect(await rowsOf('contacts')).toMatchObject([{ name: 'Ada Example', phone: '15551230001' }])
  })

  test('gives every item of a body that could not be read, parked ones included', async () => {
    const body = metaMessagesWebhook([metaMessage(), metaMessage(), metaMessage({ id: 7 })])
    await storeJobs(database, [bodyJob(body)], park('body is not JSON'))

    expect(await reprocess()).toEqual({
      examined: 2,
      recovered: 1,
      still_parked: 1,
      reasons: { 'message has an id that is not a string': 1 },
    })

    expect(await rowsOf('chat_messages')).toHaveLength(2)
  })

  test('still joins identifiers of one contact', async () => {
    const update = { user_id: { previous: 'US.1', current: 'US.2' }, wa_id: '15551230001' }
    await storeJobs(
      database,
      metaJobs(metaMessagesWebhook([metaMessage({ from: undefined, from_user_id: 'US.1' })])),
    )
    const jobs = metaJobs(metaWebhook([metaChange({ user_id_update: [update] }, 'user_id_update')]))
    await storeJobs(database, jobs, park('not understood'))

    await reprocess()

    await storeJobs(database, metaJobs(metaMessagesWebhook([metaMessage()], [metaContact()])))
    expect(new Set((await rowsOf('chat_messages')).map((row) => row.conversation_id)).size).toBe(1)
  })

  test('is counted once as what it is now', async () => {
    const jobs = metaJobs(metaMessagesWebhook([metaMessage(), metaMessage(), metaMessage()]))
    await storeJobs(database, jobs, park('not understood'))
    const before = await readStats(database.db)

    await reprocess()
    await reprocess()

    expect([before.received, before.parked]).toEqual([3, 3])
    expect(await readStats(database.db)).toMatchObject({ received: 3, parked: 0, stored: 3 })
  })
})

describe('an event that is still not understood', () => {
  test('stays as it is, and its reason is counted', async () => {
    await storeJobs(
      database,
      metaJobs(metaMessagesWebhook([metaMessage({ id: '' }), metaMessage({ id: '', n: 1 })])),
    )
    await storeJobs(database, [bodyJob('{oh')], park('body is not JSON'))
    const before = await dump(database, ...EVERYTHING)

    const tally = await reprocess()

    expect(tally).toEqual({
      examined: 3,
      recovered: 0,
      still_parked: 3,
      reasons: { 'message has an empty id': 2, 'body is not JSON': 1 },
    })
    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test('because another number has its id stays, run after run, until that changes', async () => {
    const webhook = (phone_number_id: string) =>
      metaJobs(
        metaWebhook([
          metaChange({ messages: [metaMessage({ id: 'wamid.A' })], metadata: { phone_number_id } }),
        ]),
      )
    await storeJobs(database, [...webhook('1'), ...webhook('2')])
    const before = [await dump(database, ...EVERYTHING), await readStats(database.db)]

    expect([await reprocess(), await reprocess()]).toMatchObject([{ still_parked: 1 }, { still_parked: 1 }])
    expect([await dump(database, ...EVERYTHING), await readStats(database.db)]).toEqual(before)

    await run('DELETE FROM chat_messages')
    expect(await reprocess()).toMatchObject({ recovered: 1 })
    expect(await rowsOf('chat_messages')).toHaveLength(1)
  })

  test('because PostgreSQL refuses it stays, run after run, until that changes', async () => {
    await run(`ALTER TABLE chat_messages ADD CONSTRAINT no_bad_news CHECK (content <> 'Hello')`)
    await storeJobs(database, metaJobs(metaMessagesWebhook([metaMessage()])))
    const before = await dump(database, 'webhook_events')

    expect([await reprocess(), await reprocess()]).toMatchObject([{ still_parked: 1 }, { still_parked: 1 }])
    expect(await dump(database, 'webhook_events')).toEqual(before)

    await run('ALTER TABLE chat_messages DROP CONSTRAINT no_bad_news')
    expect(await reprocess()).toMatchObject({ recovered: 1, still_parked: 0 })
  })

  test('because a key of its body came twice stays, and what was read of it is not stored again', async () => {
    const text = JSON.stringify(metaMessagesWebhook([metaMessage()])).replace('"type":', '"type":"x","type":')
    await storeJobs(database, metaJobs(Buffer.from(text)))
    const before = await dump(database, ...EVERYTHING)

    expect(await reprocess()).toMatchObject({ examined: 1, recovered: 0, still_parked: 1 })

    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test('is not parked twice when PostgreSQL refuses the new event', async () => {
    const [job] = metaJobs(metaMessagesWebhook([metaMessage({ id: 'wamid.A' })]))
    await storeJobs(database, [{ ...job!, job_id: 'event.old' }], park('message has no id'))
    await run(`ALTER TABLE chat_messages ADD CONSTRAINT no_bad_news CHECK (content <> 'Hello')`)

    await reprocess()
    const before = await dump(database, ...EVERYTHING)
    await reprocess()

    expect(await dump(database, ...EVERYTHING)).toEqual(before)
    expect(await rowsOf('webhook_events')).toMatchObject([
      { event_key: 'event.old', reprocessed_at: expect.any(Date) },
      { event_key: 'wamid.A', reprocessed_at: null, reason: expect.stringContaining('no_bad_news') },
    ])
  })
})

describe('a run', () => {
  test('after one that was killed between storing and marking marks the rows, and stores nothing twice', async () => {
    const jobs = [
      ...metaJobs(metaMessagesWebhook([metaMessage()])),
      ...twilioJobs(twilioStatus('read', { MessageSid: twilioSid(1) })),
      ...metaJobs(metaWebhook([{ field: 'security', value: {} }])),
    ]
    await storeJobs(database, jobs, park('not understood'))
    await reprocess()
    await run('UPDATE webhook_events SET reprocessed_at = NULL')
    const before = await dump(database, 'chat_messages', 'message_statuses', 'changes')

    expect(await reprocess()).toMatchObject({ examined: 3, recovered: 3 })

    expect(await dump(database, 'chat_messages', 'message_statuses', 'changes')).toEqual(before)
  })

  test('that is dry stores nothing, and counts what is understood', async () => {
    const jobs = metaJobs(metaMessagesWebhook([metaMessage(), metaMessage({ id: 7 })]))
    await storeJobs(database, jobs, park('old'))
    const before = await dump(database, ...EVERYTHING)

    expect(await reprocess({ isDryRun: true })).toEqual({
      examined: 2,
      recovered: 1,
      still_parked: 1,
      reasons: { old: 1 },
    })

    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test('since a date leaves older events alone', async () => {
    await storeJobs(database, metaJobs(metaMessagesWebhook([metaMessage(), metaMessage()])), park('old'))
    await run(
      `UPDATE webhook_events SET received_at = '2026-07-01' WHERE id = (SELECT max(id) FROM webhook_events)`,
    )

    expect(await reprocess({ since: new Date('2026-06-15') })).toMatchObject({ examined: 1, recovered: 1 })
  })

  test('beside another run stores and counts everything once', async () => {
    const messages = Array.from({ length: 60 }, () => metaMessage())
    await storeJobs(database, metaJobs(metaMessagesWebhook(messages)), park('old'))

    await Promise.all([reprocess({ batchSize: 10 }), reprocess({ batchSize: 7 })])

    expect(await rowsOf('chat_messages')).toHaveLength(60)
    expect(await readStats(database.db)).toMatchObject({ received: 60, parked: 0 })
  })

  test('without the database fails with the reason, and loses nothing', async () => {
    await storeJobs(database, metaJobs(metaMessagesWebhook([metaMessage()])), park('old'))
    await run('ALTER TABLE chat_messages RENAME TO elsewhere')

    await expect(reprocess()).rejects.toThrow('chat_messages')

    expect(await rowsOf('webhook_events')).toMatchObject([{ reprocessed_at: null }])
  })
})

/** Rows without what depends on the order and the time of writing. */
async function contentOf({ pool }: TestDatabase, table: string): Promise<string[]> {
  const volatile = ['id', 'conversation_id', 'contact_id', 'sender_contact_id', 'created_at', 'updated_at']
  const { rows } = await pool.query(
    `SELECT (to_jsonb(t) - $1::text[])::text AS row FROM ${table} t ORDER BY 1`,
    [volatile],
  )
  return rows.map(({ row }) => row)
}
