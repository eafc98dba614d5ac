import { afterEach, expect, test, vi } from 'vitest'
import { STATUS_REPAIR } from '../../src/core/send-policy.ts'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { createStatusRepair } from '../../src/worker/status-repair.ts'
import { statusItem } from '../support/facts.ts'
import { orderText } from '../support/outbound.ts'
import { createTestDatabase } from '../support/postgres.ts'

afterEach(() => {
  vi.useRealTimers()
})

test('statuses that were not applied are looked for at the start, back to a week ago, and then once an hour', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const { db, pool } = await createTestDatabase()
  const id = await orderText(db)
  await writeBatch(db, [statusItem('wamid.A', 'failed')])
  const leaveOver = (age: string) =>
    pool.query(`
      UPDATE chat_messages SET wa_message_id = 'wamid.A', status = 'accepted';
      UPDATE message_statuses SET created_at = now() - interval '${age}'`)
  const status = async () =>
    (await pool.query('SELECT status FROM chat_messages WHERE id = $1', [id])).rows[0].status
  const repair = createStatusRepair(db)

  await leaveOver('6 days')
  await repair.runOnce()
  expect(await status()).toBe('failed')

  await leaveOver('1 minute')
  vi.advanceTimersByTime(STATUS_REPAIR.everyMs - 1)
  await repair.runOnce()
  expect(await status()).toBe('accepted')

  vi.advanceTimersByTime(1)
  await leaveOver('65 minutes')
  await repair.runOnce()
  expect(await status()).toBe('failed')
})
