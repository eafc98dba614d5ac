/** The scheduled back-fill of the workers. */
import { expect, test } from 'vitest'
import { migrateQueueSchema } from '../../src/queue/postgres-backend.ts'
import { eventually } from '../support/eventually.ts'
import { startFakeTwilio, TWILIO_SENDING_ACCOUNT } from '../support/fake-twilio.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { startCli } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'
import { TWILIO_AUTH_TOKEN } from '../support/twilio-webhooks.ts'

test('with two workers, one of them reads the list of Twilio and stores the missing messages', async () => {
  const [database, twilio] = await Promise.all([createTestDatabase(), startFakeTwilio()])
  await migrateQueueSchema(database.url)
  const { sid } = twilio.put()
  const env = {
    DATABASE_URL: database.url,
    DATA_DIR: createTempDirectory(),
    TWILIO_ACCOUNT_SID: TWILIO_SENDING_ACCOUNT,
    TWILIO_AUTH_TOKEN,
    TWILIO_API_URL: twilio.url,
  }

  const workers = [startCli(['worker'], { env }), startCli(['worker'], { env })]
  await Promise.all(workers.map((worker) => worker.waitForOutput(/"msg":"ready"/)))

  await eventually(async () => {
    const { rows } = await database.pool.query('SELECT wa_message_id, source FROM chat_messages')
    expect(rows).toEqual([{ wa_message_id: sid, source: 'backfill' }])
  })
  await eventually(() => expect(workers.map(({ stdout }) => stdout).join('')).toMatch(/messages back-filled/))
  for (const worker of workers) expect(await worker.stop()).toEqual({ code: 0, signal: null })
  const days = twilio.calls.map(({ path }) => new URL(path, twilio.url).searchParams.get('DateSent'))
  expect(days).toEqual([...new Set(days)])
})
