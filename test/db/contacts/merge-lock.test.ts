import { expect, test } from 'vitest'
import { lockMergesShared } from '../../../src/db/contacts/merge-lock.ts'
import { resolveContacts } from '../../../src/db/contacts/resolve-contacts.ts'
import { at, resolve } from '../../support/contact-batches.ts'
import { eventually } from '../../support/eventually.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

test('no contact is merged while a transaction holds the shared merge lock', async () => {
  const database = await createTestDatabase()
  await resolve(database, [{ phone: '15550100001' }, { user_id: 'US.1' }])
  const { promise: isHeld, resolve: hold } = Promise.withResolvers<void>()
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>()
  const holding = database.db.transaction().execute(async (trx) => {
    await lockMergesShared(trx)
    hold()
    await mayEnd
  })
  await isHeld

  const merging = resolve(database, [{ phone: '15550100001', user_id: 'US.1' }])
  await eventually(async () => expect(await countWaiting(database)).toBe(1))
  expect(await countMerged(database)).toBe(0)
  end()
  await Promise.all([holding, merging])

  expect(await countMerged(database)).toBe(1)
})

test('two transactions that resolve contacts first and merge later get an error instead of a deadlock', async () => {
  const database = await createTestDatabase()
  await resolve(database, [{ phone: '15550100001' }, { user_id: 'US.1' }])
  const merge = [{ ref: { phone: '15550100001', user_id: 'US.1' }, seen_at: at(0) }]
  const known = [{ ref: { phone: '15550100001' }, seen_at: at(0) }]
  const { promise: bothHold, resolve: meet } = Promise.withResolvers<void>()
  let holders = 0

  const outcomes = await Promise.allSettled(
    [1, 2].map(() =>
      database.db.transaction().execute(async (trx) => {
        await resolveContacts(trx, known)
        holders += 1
        if (holders === 2) meet()
        await bothHold
        await resolveContacts(trx, merge)
      }),
    ),
  )

  expect(outcomes.filter(({ status }) => status === 'rejected')).toContainEqual({
    status: 'rejected',
    reason: expect.objectContaining({ message: expect.stringMatching(/run the transaction again/) }),
  })
})

async function countWaiting(database: TestDatabase): Promise<number> {
  const { rows } = await database.pool.query(
    `SELECT count(*)::integer AS count FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted`,
  )
  return rows[0].count
}

async function countMerged(database: TestDatabase): Promise<number> {
  const { rows } = await database.pool.query(
    'SELECT count(*)::integer AS count FROM contacts WHERE merged_into IS NOT NULL',
  )
  return rows[0].count
}
