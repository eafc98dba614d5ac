/** Events that an earlier release kept whole, without reading what is in them. */
import { beforeEach, describe, expect, test } from 'vitest'
import { EVENT_VERSION, type InboundJob } from '../../../src/core/event.ts'
import type { Fact } from '../../../src/core/fact.ts'
import { contentJobId } from '../../../src/core/job-id.ts'
import { createEventStore } from '../../../src/db/ingest/event-store.ts'
import { reprocessParkedEvents } from '../../../src/db/reprocess/events.ts'
import { readStats } from '../../../src/db/views/stats.ts'
import {
  META_ACCOUNT,
  META_PHONE_NUMBER_ID,
  metaChange,
  metaContact,
  metaHandover,
  metaMessage,
  metaMessagesWebhook,
  metaSentEcho,
  metaStandby,
  metaStatus,
} from '../../support/meta-webhooks.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import {
  dump,
  EVERYTHING,
  metaJobs,
  PARSER,
  RECEIVED_AT,
  reprocessOptions,
  storeJobs,
} from '../../support/reprocessing.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const reprocess = (options = {}) =>
  reprocessParkedEvents(
    { db: database.db, store: createEventStore({ db: database.db, isCounted: false }), parser: PARSER },
    reprocessOptions(options),
  )
const run = (statement: string) => database.pool.query(statement)

describe('an event that an earlier release kept whole', () => {
  /** As releases before standby stored it: one event, with the whole value. */
  const kept = (change: { field: string; value: Record<string, unknown> }, number?: string): InboundJob => {
    const payload = JSON.stringify(change.value)
    const context = JSON.stringify({ metadata: change.value.metadata, entry_time: '1760000000' })
    return {
      job_id: contentJobId(['meta', change.field, payload]),
      event: {
        v: EVENT_VERSION,
        kind: 'other',
        provider: 'meta',
        received_at: RECEIVED_AT,
        account: META_ACCOUNT,
        ...(number === undefined ? {} : { business_number: number }),
        field: change.field,
        context,
        payload,
      },
    }
  }
  const asBefore = (): Fact => ({ kind: 'other', identities: [], contacts: [] })
  const standby = metaStandby({
    contacts: [metaContact()],
    messages: [metaMessage({ id: 'wamid.A', timestamp: '1760000000' })],
    message_echoes: [metaSentEcho({}, { id: 'wamid.B', timestamp: '1760000001' })],
    statuses: [metaStatus({ id: 'wamid.B', status: 'read' })],
  }) as { field: string; value: Record<string, unknown> }
  const handover = metaHandover({ timestamp: '1760000002' }) as typeof standby
  const odd = metaChange({ standby: ['nobody knows'] }, 'standby') as typeof standby

  beforeEach(async () => {
    await storeJobs(
      database,
      [kept(standby, META_PHONE_NUMBER_ID), kept(handover), kept(odd, META_PHONE_NUMBER_ID)],
      asBefore,
    )
  })

  test('becomes the messages, statuses and control in it, once; the event stays', async () => {
    const before = await readStats(database.db)
    const tally = await reprocess()
    const afterwards = await dump(database, ...EVERYTHING)
    const again = await reprocess()

    const { rows } = await run(
      'SELECT wa_message_id, direction, source, status FROM chat_messages ORDER BY id',
    )
    expect(rows).toEqual([
      { wa_message_id: 'wamid.A', direction: 'inbound', source: 'standby', status: null },
      { wa_message_id: 'wamid.B', direction: 'outbound', source: 'standby', status: 'read' },
    ])
    const conversations = await run(
      'SELECT business_number, control_holder, control_role, control_at FROM conversations',
    )
    expect(conversations.rows).toEqual([
      {
        business_number: META_PHONE_NUMBER_ID,
        control_holder: 'self',
        control_role: 'escalation',
        control_at: new Date(1760000002000),
      },
    ])
    expect(tally).toEqual({ examined: 2, recovered: 2, still_parked: 0, reasons: {} })
    expect(again).toEqual({ examined: 0, recovered: 0, still_parked: 0, reasons: {} })
    expect(await dump(database, ...EVERYTHING)).toEqual(afterwards)
    expect((await readStats(database.db)).stored - before.stored).toBe(3)
    expect((await run('SELECT FROM webhook_events')).rowCount).toBe(3)
  })

  test('is counted and left alone in a dry run', async () => {
    const before = await dump(database, ...EVERYTHING)

    expect(await reprocess({ isDryRun: true })).toMatchObject({ examined: 2, recovered: 2 })
    expect(await dump(database, ...EVERYTHING)).toEqual(before)
  })

  test('is no second message where the first came in the ordinary way', async () => {
    await storeJobs(database, metaJobs(metaMessagesWebhook([metaMessage({ id: 'wamid.A' })])))
    await reprocess()

    expect((await run(`SELECT source FROM chat_messages WHERE wa_message_id = 'wamid.A'`)).rows).toEqual([
      { source: 'webhook' },
    ])
  })
})
