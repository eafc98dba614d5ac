import { beforeEach, expect, test } from 'vitest'
import { reprocessStatuses } from '../../../src/db/reprocess/statuses.ts'
import { createMarker } from '../../support/hostile/marks.ts'
import { META_WEBHOOKS, TWILIO_FORMS } from '../../support/hostile/well-formed.ts'
import { metaChange, metaMessage, metaStatus, metaWebhook } from '../../support/meta-webhooks.ts'
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

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const reprocess = (options = {}) => reprocessStatuses(database.db, PARSER, reprocessOptions(options))
const run = (statement: string) => database.pool.query(statement)
const echoAndStatus = (status: Record<string, unknown>) =>
  metaJobs(
    metaWebhook([
      metaChange(
        { message_echoes: [metaMessage({ id: 'wamid.A', to: '15551230001' })] },
        'smb_message_echoes',
      ),
      metaChange({ statuses: [metaStatus({ id: 'wamid.A', ...status })] }),
    ]),
  )

test('statuses that an older release stored get what this release reads, and a second run changes nothing', async () => {
  const marker = createMarker()
  await storeJobs(
    database,
    META_WEBHOOKS.flatMap((build) => metaJobs(build(marker))),
  )
  const url = '/webhooks/twilio?callback_id=7f2c1de0-0000-4000-8000-000000000001'
  await storeJobs(
    database,
    TWILIO_FORMS.flatMap((build) => twilioJobs(build(marker), url)),
  )
  const expected = await dump(database, 'message_statuses')
  await run(
    `UPDATE message_statuses SET occurred_at = now(), errors = NULL, pricing = '{"old":1}', conversation = NULL`,
  )

  const tally = await reprocess()

  expect(await dump(database, 'message_statuses')).toEqual(expected)
  expect(tally).toEqual({ examined: expected.length, changed: expected.length, left: 0 })
  const before = await dump(database, ...EVERYTHING)
  expect(await reprocess({ batchSize: 2 })).toEqual({ examined: expected.length, changed: 0, left: 0 })
  expect(await dump(database, ...EVERYTHING)).toEqual(before)
})

test('a message gets the errors of its current status, and the change is announced', async () => {
  await storeJobs(database, echoAndStatus({ status: 'failed', errors: [{ code: 131049 }] }))
  await run(`UPDATE message_statuses SET errors = NULL`)
  await run(`UPDATE chat_messages SET error = NULL`)
  await run('DELETE FROM changes')

  await reprocess()

  const { rows } = await run('SELECT status, error FROM chat_messages')
  expect(rows).toEqual([{ status: 'failed', error: [{ code: 131049 }] }])
  expect((await run('SELECT kind FROM changes')).rows).toEqual([{ kind: 'message.updated' }])
})

test('a message keeps its error when the changed status is not its current one', async () => {
  await storeJobs(database, echoAndStatus({ status: 'failed', errors: [{ code: 131049 }] }))
  await run(`UPDATE message_statuses SET errors = NULL`)
  await run(`UPDATE chat_messages SET status = 'read', error = NULL`)

  expect(await reprocess()).toMatchObject({ changed: 1 })

  expect((await run('SELECT status, error FROM chat_messages')).rows).toEqual([
    { status: 'read', error: null },
  ])
})

test('a status that was recorded before it had a rank is applied', async () => {
  await storeJobs(database, echoAndStatus({ status: 'read' }))
  await run(`UPDATE chat_messages SET status = 'sent'`)

  await reprocess()

  expect((await run('SELECT status FROM chat_messages')).rows).toEqual([{ status: 'read' }])
})

test('a dry run changes nothing, and counts what would change', async () => {
  await storeJobs(database, echoAndStatus({ status: 'read' }))
  await run(`UPDATE message_statuses SET pricing = '{}'`)
  await run(`UPDATE chat_messages SET status = 'sent'`)
  const before = await dump(database, ...EVERYTHING)

  expect(await reprocess({ isDryRun: true })).toEqual({ examined: 1, changed: 1, left: 0 })

  expect(await dump(database, ...EVERYTHING)).toEqual(before)
})

test.each([
  `payload = '{}'`,
  `payload = payload || '{"id":"wamid.B"}'`,
  `payload = payload || '{"status":"sent"}'`,
  `participant = 'somebody'`,
])('a row whose payload is not this status stays as it is: %s', async (change) => {
  await storeJobs(database, echoAndStatus({ status: 'read' }))
  await run(`UPDATE message_statuses SET pricing = '{"kept":1}', ${change}`)
  const before = await dump(database, 'message_statuses')

  expect(await reprocess()).toEqual({ examined: 1, changed: 0, left: 1 })

  expect(await dump(database, 'message_statuses')).toEqual(before)
})
