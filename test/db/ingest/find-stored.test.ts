import { beforeEach, expect, test } from 'vitest'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { isEventStored } from '../../../src/db/ingest/find-stored.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { BUSINESS_NUMBER, messageItem, statusItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const ID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQz'
let database: TestDatabase

beforeEach(async () => {
  database = await createTestDatabase()
})

const store = (...items: StoreItem[]) => writeBatch(database.db, items)
const isStored = (item: StoreItem) => isEventStored(database.db, item)
const ofNumber = { business_number: BUSINESS_NUMBER }

test('finds the message, and no other copy of it', async () => {
  const item = messageItem(ID, {}, ofNumber)
  expect(await isStored(item)).toBe(false)
  await store(item)

  expect(await isStored(item)).toBe(true)
  const { event } = item
  expect(await isStored({ ...item, event: { ...event, received_at: event.received_at + 1 } })).toBe(false)
  expect(await isStored({ ...item, event: { ...event, business_number: '2' } })).toBe(false)
  expect(await isStored({ ...item, event: { ...event, kind: 'echo' } })).toBe(false)
  expect(await isStored({ ...item, event: { ...event, kind: 'history' } })).toBe(false)
})

test('finds a status by the word in its job id', async () => {
  await store(statusItem(ID, 'sent'), statusItem(ID, 'read', { participant: '15550001234' }))

  expect(await isStored(statusItem(ID, 'sent'))).toBe(true)
  expect(await isStored(statusItem(ID, 'read', { participant: '15550001234' }))).toBe(true)
  expect(await isStored(statusItem(ID, 'read'))).toBe(false)
  expect(await isStored(statusItem(ID, 'delivered'))).toBe(false)
})
