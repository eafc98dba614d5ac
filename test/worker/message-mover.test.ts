import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { writeBatch } from '../../src/db/ingest/batch-writer.ts'
import { holdLease, releaseLease } from '../../src/db/leases.ts'
import { createMessageMover } from '../../src/worker/message-mover.ts'
import { messageItem } from '../support/facts.ts'
import { createTestDatabase } from '../support/postgres.ts'

test('moves what merges have left, unless another process does', async () => {
  const { db, pool } = await createTestDatabase()
  await writeBatch(db, [messageItem('wamid.A', { contact: { phone: '15550001111' } })])
  await writeBatch(db, [messageItem('wamid.B', { contact: { user_id: 'US.1' } })])
  await pool.query(`UPDATE conversations SET moving_since = now(),
    merged_into = (SELECT min(id) FROM conversations) WHERE id = (SELECT max(id) FROM conversations)`)
  const mover = createMessageMover({ db })
  const other = { name: 'message-mover', holder: randomUUID() }

  await holdLease(db, { ...other, durationMs: 60_000 })
  expect(await mover.runOnce()).toBe(0)

  await releaseLease(db, other)
  expect(await mover.runOnce()).toBe(1)
  expect(await mover.runOnce()).toBe(0)
})
