import { expect, test } from 'vitest'
import { createChangePruner } from '../../src/worker/change-pruner.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { waitForVisibleChanges } from '../support/visible-changes.ts'

test('removes a month-old backlog of any size and leaves the rest', async () => {
  const { db, pool } = await createTestDatabase()
  await pool.query(
    `INSERT INTO changes (kind, created_at) SELECT 'old', now() - interval '31 days' FROM generate_series(1, 12000)`,
  )
  await pool.query(
    `INSERT INTO changes (kind, created_at) SELECT 'new', now() - interval '29 days' FROM generate_series(1, 10)`,
  )
  await waitForVisibleChanges(db)

  const removed = await createChangePruner({ db }).runOnce()

  expect(removed).toBe(12_000)
  const { rows } = await pool.query('SELECT kind, count(*)::integer AS count FROM changes GROUP BY kind')
  expect(rows).toEqual([{ kind: 'new', count: 10 }])
})

test('does nothing while another process prunes', async () => {
  const { db, pool } = await createTestDatabase()
  await createChangePruner({ db }).runOnce()
  await pool.query(`INSERT INTO changes (kind, created_at) VALUES ('old', now() - interval '31 days')`)
  await waitForVisibleChanges(db)

  expect(await createChangePruner({ db }).runOnce()).toBe(0)
})
