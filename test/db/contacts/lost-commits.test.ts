/** A contact that was cached before commits were lost is another one afterwards: the same ids are given again. */
import { execFileSync } from 'node:child_process'
import type { Kysely } from 'kysely'
import { expect, test } from 'vitest'
import type { ContactRef } from '../../../src/core/fact.ts'
import { createDatabase, createPool } from '../../../src/db/connect.ts'
import { createContactCache } from '../../../src/db/contacts/contact-cache.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { migrateToLatest } from '../../../src/db/migrate.ts'
import type { Database } from '../../../src/db/schema.ts'
import { createDataDirectory, startPostgres } from '../../local/data-directory.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { messageItem } from '../../support/facts.ts'
import { createTestDatabase } from '../../support/postgres.ts'

const ANN = { phone: '15550001111' }
const BEN = { phone: '15550002222' }

let count = 0

/** The conversation of a message that is stored with this cache. */
async function write(
  db: Kysely<Database>,
  contact: ContactRef,
  contactCache = createContactCache(),
): Promise<string> {
  const id = `wamid.${count++}`
  await writeBatch(db, [messageItem(id, { contact })], { contactCache })
  const row = await db
    .selectFrom('chat_messages')
    .select('conversation_id')
    .where('wa_message_id', '=', id)
    .executeTakeFirstOrThrow()
  return row.conversation_id
}

async function open(dataDir: string): Promise<Kysely<Database>> {
  const { url } = await startPostgres(dataDir)
  const db = createDatabase(createPool({ url, applicationName: 'test', max: 1 }))
  cleanUp(() => db.destroy())
  return db
}

test('a message is not given to the contact that has the id on the replica which took over', async () => {
  const [primary, replica] = [createDataDirectory(), createDataDirectory()]
  const { url, stop } = await startPostgres(primary)
  const first = createDatabase(createPool({ url, applicationName: 'test', max: 1 }))
  await migrateToLatest(first)
  await first.destroy()
  await stop()
  execFileSync('cp', ['-a', `${primary}/.`, replica])
  const cache = createContactCache()
  const lost = await write(await open(primary), ANN, cache)

  const promoted = await open(replica)
  const ofBen = await write(promoted, BEN)

  expect(ofBen).toBe(lost)
  expect(await write(promoted, ANN, cache)).not.toBe(ofBen)
})

test('a message is not given to the contact that has the id in a dump which was restored', async () => {
  const { db, pool } = await createTestDatabase()
  const cache = createContactCache()
  const lost = await write(db, ANN, cache)

  await pool.query(`
    TRUNCATE contacts, contact_identifiers, conversations, chat_messages RESTART IDENTITY CASCADE;
    DROP SEQUENCE contact_generation;
    CREATE SEQUENCE contact_generation`)
  const ofBen = await write(db, BEN)

  expect(ofBen).toBe(lost)
  expect(await write(db, ANN, cache)).not.toBe(ofBen)
})
