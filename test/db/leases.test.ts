import { randomUUID } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { holdLease, releaseLease } from '../../src/db/leases.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const take = (holder: string, durationMs = 60_000) =>
  holdLease(database.db, { name: 'sweep', holder, durationMs })

test('one of 20 concurrent callers gets the lease, and can renew it', async () => {
  const holders = Array.from({ length: 20 }, () => randomUUID())

  const answers = await Promise.all(holders.map((holder) => take(holder)))

  expect(answers.filter(Boolean)).toHaveLength(1)
  expect(await take(holders[answers.indexOf(true)] as string)).toBe(true)
})

test('a lease that was not renewed in time goes to the next caller', async () => {
  const [first, second] = [randomUUID(), randomUUID()]
  await take(first, -1)

  expect(await take(second)).toBe(true)
  expect(await take(first)).toBe(false)
})

test('a released lease is free at once, and only its holder can release it', async () => {
  const [first, second] = [randomUUID(), randomUUID()]
  await take(first)

  await releaseLease(database.db, { name: 'sweep', holder: second })
  expect(await take(second)).toBe(false)
  await releaseLease(database.db, { name: 'sweep', holder: first })
  expect(await take(second)).toBe(true)
})
