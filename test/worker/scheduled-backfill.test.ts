import { beforeEach, expect, test } from 'vitest'
import { createScheduledBackfill } from '../../src/worker/scheduled-backfill.ts'
import { backfillOptions } from '../support/backfilling.ts'
import { stopClockAtNoon } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { holding } from '../support/fake-server.ts'
import { type FakeTwilio, startFakeTwilio, twilioError } from '../support/fake-twilio.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'

const MINUTE = 60_000

let database: TestDatabase
let twilio: FakeTwilio

beforeEach(async () => {
  database = await createTestDatabase()
  twilio = await startFakeTwilio({ behavioursFor: 'reads' })
})

const schedule = () =>
  createScheduledBackfill({ ...backfillOptions(database, twilio), intervalMs: 15 * MINUTE })
const signal = new AbortController().signal
const sids = async () =>
  (await database.pool.query('SELECT wa_message_id FROM chat_messages')).rows.map((row) => row.wa_message_id)
const age = (minutes: number) =>
  database.pool.query(
    `UPDATE backfill_positions SET started_at = started_at - ${minutes} * interval '1 minute'`,
  )

test('one of several workers runs it, and another one when the interval is over', async () => {
  const workers = [schedule(), schedule(), schedule()]
  const { sid } = twilio.put()

  const reports = await Promise.all(workers.map((worker) => worker.runOnce(signal)))
  expect(reports.filter((report) => report !== undefined)).toMatchObject([{ stored: 1 }])
  expect(await sids()).toEqual([sid])
  for (const worker of workers) expect(await worker.runOnce(signal)).toBeUndefined()

  const later = twilio.put()
  await age(15)
  const second = await Promise.all(workers.map((worker) => worker.runOnce(signal)))
  expect(second.filter((report) => report !== undefined)).toMatchObject([{ stored: 1 }])
  expect(await sids()).toContain(later.sid)
})

test('no worker begins while another one still runs, however long that takes', async () => {
  const [first, second] = [schedule(), schedule()]
  const held = holding()
  twilio.next(held.behaviour)
  const running = first.runOnce(signal)
  await held.reached()
  await age(60)

  expect(await second.runOnce(signal)).toBeUndefined()

  held.release()
  expect(await running).toMatchObject({ stopped: false })
  await eventually(async () => expect(await second.runOnce(signal)).toMatchObject({ stopped: false }))
})

test('a run that lost its lease ends, and moves no position', async () => {
  stopClockAtNoon()
  const held = holding()
  twilio.next(held.behaviour)
  const running = schedule().runOnce(signal)
  await held.reached()
  await database.pool.query(`UPDATE leases SET holder = gen_random_uuid()`)

  held.release()

  const report = await running
  expect(report).toMatchObject({ stopped: true })
  const { rows } = await database.pool.query('SELECT position FROM backfill_positions')
  expect(Number(rows[0].position ?? 0)).toBeLessThan(Date.now() - 15 * MINUTE - 1_000)
})

test('refused credentials fail the run, and the next run waits for the interval', async () => {
  const worker = schedule()
  twilio.put()
  twilio.next(twilioError(20003, { status: 401, message: 'Authenticate' }))
  await expect(worker.runOnce(signal)).rejects.toThrow(/TWILIO_AUTH_TOKEN/)

  expect(await worker.runOnce(signal)).toBeUndefined()
  expect(twilio.calls).toHaveLength(1)
  await age(15)

  expect(await worker.runOnce(signal)).toMatchObject({ stored: 1 })
})
