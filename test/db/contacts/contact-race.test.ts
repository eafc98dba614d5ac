/** Many writers, few people: the same contacts are created, linked, merged and given new identifiers at the same time. */
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { expect, test } from 'vitest'
import type { ContactRef, IdentityChange } from '../../../src/core/fact.ts'
import { resolveConversations } from '../../../src/db/contacts/conversations.ts'
import { moveMergedMessages } from '../../../src/db/contacts/move-messages.ts'
import { resolveContacts } from '../../../src/db/contacts/resolve-contacts.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import type { Database } from '../../../src/db/schema.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { at } from '../../support/contact-batches.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const WRITERS = 8
const PEOPLE = 12

test('concurrent writers create each new contact and its conversation once', async () => {
  const database = await createTestDatabase()
  const writers = openWriters(database)
  const random = createRandom(1)

  for (let round = 0; round < 8; round += 1) {
    const people = Array.from({ length: PEOPLE }, (_, index) => createRefs(round * PEOPLE + index))
    const answers = await Promise.all(
      writers.map(async (db) => {
        const refs = shuffle(random, people).map((forms) => pick(random, forms))
        await resolveBatch(db, refs)
      }),
    )
    expect(answers).toHaveLength(WRITERS)
    await Promise.all(writers.map((db) => resolveBatch(db, shuffle(random, people.flat()))))
  }

  expect(await countContacts(database)).toBe(8 * PEOPLE)
  await expectSoundRows(database)
})

test('concurrent writers that link and merge the same contacts neither fork them nor deadlock', async () => {
  const database = await createTestDatabase()
  const writers = openWriters(database)
  const random = createRandom(2)
  const rounds = 12

  for (let round = 0; round < rounds; round += 1) {
    const people = Array.from({ length: PEOPLE }, (_, index) => createRefs(round * PEOPLE + index))
    await Promise.all(
      writers.map(async (db) => {
        for (let batch = 0; batch < 4; batch += 1) {
          const refs = shuffle(random, people.flat()).slice(0, 1 + Math.floor(random() * 10))
          await resolveBatch(db, refs)
        }
      }),
    )
    await resolveBatch(writers[0]!, people.flat())
  }

  expect(await countContacts(database)).toBe(rounds * PEOPLE)
  await expectSoundRows(database)
})

test('a number goes to another contact while many writers write for it', async () => {
  const database = await createTestDatabase()
  const writers = openWriters(database)
  const random = createRandom(3)

  for (let round = 0; round < 12; round += 1) {
    const moves = Array.from({ length: 4 }, (_, index) => createMove(round * 4 + index))
    await Promise.all(
      writers.map(async (db) => {
        for (const move of shuffle(random, moves)) {
          const refs = shuffle(random, move.refs).slice(0, 2)
          const changes = random() < 0.5 ? [move.change] : []
          await db.transaction().execute((trx) => resolveContacts(trx, refs, changes))
        }
      }),
    )
    for (const { refs, change } of moves) {
      const ids = await database.db.transaction().execute((trx) => resolveContacts(trx, refs, [change]))
      expect(new Set(ids).size).toBe(1)
    }
  }

  await expectSoundRows(database)
})

test('two people who write first at the same time, from a number that is known without a user id, are two contacts', async () => {
  const database = await createTestDatabase()
  const writers = openWriters(database)

  for (let round = 0; round < 20; round += 1) {
    const phone = `1555${4_000_000 + round}`
    const sightings = [{ phone }, { phone, user_id: `US.${round}0` }, { phone, user_id: `US.${round}1` }].map(
      (ref, day) => ({ ref, seen_at: at(day * 24 * 60), account: 'waba-1' }),
    )
    const store = (db: Kysely<Database>, index: number) =>
      db.transaction().execute((trx) => resolveContacts(trx, sightings.slice(index, index + 1)))
    await store(writers[0]!, 0)

    const people = await Promise.all([store(writers[1]!, 1), store(writers[2]!, 2)])

    expect(new Set(people.flat()).size).toBe(2)
  }

  await expectSoundRows(database)
})

test('messages written while their conversations are merged all end in the surviving one', async () => {
  const database = await createTestDatabase()
  const writers = openWriters(database)
  const random = createRandom(4)
  let messages = 0

  for (let round = 0; round < 8; round += 1) {
    const people = Array.from({ length: 4 }, (_, index) => createRefs(round * 4 + index))
    await Promise.all(
      writers.map(async (db) => {
        for (let batch = 0; batch < 4; batch += 1) {
          const items = shuffle(random, people.flat())
            .slice(0, 5)
            .flatMap((contact) => {
              messages += 1
              const id = `wamid.race${messages}`
              return [messageItem(id, { contact }), statusItem(id, 'read')]
            })
          await writeBatch(db, shuffle(random, items))
        }
      }),
    )
    await resolveBatch(writers[0]!, people.flat())
  }

  // Rows that another writer had locked during a merge.
  await moveMergedMessages(database.db)
  const { rows } = await database.pool.query(`SELECT count(*)::integer AS messages,
    count(*) FILTER (WHERE v.merged_into IS NOT NULL)::integer AS astray
    FROM chat_messages m JOIN conversations v ON v.id = m.conversation_id`)
  expect(rows).toEqual([{ messages, astray: 0 }])
  await expectSoundRows(database)
})

/** Refs of one person; together they link all of the person's identifiers. */
function createRefs(number: number): ContactRef[] {
  const phone = `1555${String(1_000_000 + number)}`
  const user_id = `US.${number}`
  const parent_user_id = `US.ENT.${number}`
  return [
    { phone },
    { user_id },
    { parent_user_id },
    { phone, user_id },
    { user_id, parent_user_id },
    { phone, user_id, parent_user_id, name: `Person ${number}` },
  ]
}

function createMove(number: number) {
  const before = `1555${String(2_000_000 + number)}`
  const after = `1555${String(3_000_000 + number)}`
  const change: IdentityChange = { from: { phone: before }, to: { phone: after }, changed_at: at(10) }
  const refs = [
    { ref: { phone: before }, seen_at: at(1) },
    { ref: { phone: before }, seen_at: at(10) },
    { ref: { phone: after }, seen_at: at(11) },
    { ref: { phone: after }, seen_at: at(12) },
  ]
  return { change, refs }
}

function resolveBatch(db: Kysely<Database>, refs: readonly ContactRef[]): Promise<string[]> {
  return db.transaction().execute(async (trx) => {
    const ids = await resolveContacts(
      trx,
      refs.map((ref) => ({ ref, seen_at: at(0) })),
    )
    const keys = ids.map((contact_id) => ({ provider: 'meta', business_number: '100', contact_id }))
    return resolveConversations(trx, keys)
  })
}

/** Each with a connection of its own, as separate processes have. */
function openWriters(database: TestDatabase): Kysely<Database>[] {
  return Array.from({ length: WRITERS }, () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    pool.on('error', () => {})
    cleanUp(() => pool.end())
    return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
  })
}

async function countContacts(database: TestDatabase): Promise<number> {
  const { rows } = await database.pool.query(
    'SELECT count(*)::integer AS count FROM contacts WHERE merged_into IS NULL',
  )
  return rows[0].count
}

/** Invariants that every reader relies on. */
async function expectSoundRows(database: TestDatabase): Promise<void> {
  const broken = {
    'an identifier points at a merged contact': `SELECT i.value FROM contact_identifiers i
      JOIN contacts c ON c.id = i.contact_id WHERE c.merged_into IS NOT NULL`,
    'a contact has no identifier': `SELECT c.id FROM contacts c WHERE c.merged_into IS NULL
      AND NOT EXISTS (SELECT FROM contact_identifiers i WHERE i.contact_id = c.id)`,
    'a merged contact points at a merged one': `SELECT c.id FROM contacts c
      JOIN contacts m ON m.id = c.merged_into WHERE m.merged_into IS NOT NULL`,
    'a merged conversation points at a merged one': `SELECT v.id FROM conversations v
      JOIN conversations m ON m.id = v.merged_into WHERE m.merged_into IS NOT NULL`,
    'a conversation belongs to a merged contact': `SELECT v.id FROM conversations v
      JOIN contacts c ON c.id = v.contact_id WHERE v.merged_into IS NULL AND c.merged_into IS NOT NULL`,
    'a user id stands for two': `SELECT value FROM contact_identifiers
      WHERE kind <> 'phone' GROUP BY kind, value HAVING count(*) > 1`,
    'a merged conversation is announced otherwise than once': `SELECT v.id FROM conversations v
      LEFT JOIN changes c ON c.kind = 'conversation.merged' AND c.conversation_id = v.id
      GROUP BY v.id HAVING count(c.id) <> (CASE WHEN v.merged_into IS NULL THEN 0 ELSE 1 END)`,
    'PostgreSQL broke a deadlock': `SELECT deadlocks FROM pg_stat_database
      WHERE datname = current_database() AND deadlocks > 0`,
  }
  for (const [claim, query] of Object.entries(broken)) {
    const { rows } = await database.pool.query(query)
    expect(rows, claim).toEqual([])
  }
}

type Random = () => number

/** Mulberry32: the same numbers in every run. */
function createRandom(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)] as T
}

function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const keyed = items.map((item) => ({ item, key: random() }))
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item)
}
