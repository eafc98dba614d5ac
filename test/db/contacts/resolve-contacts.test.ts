import { Kysely, PostgresDialect } from 'kysely'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ContactRef } from '../../../src/core/fact.ts'
import { resolveContacts } from '../../../src/db/contacts/resolve-contacts.ts'
import type { Database } from '../../../src/db/schema.ts'
import { at, resolve } from '../../support/contact-batches.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})

describe('one contact', () => {
  test('is found again by each of its identifiers', async () => {
    const [everything] = await resolve(database, [
      { phone: '15550100001', user_id: 'US.100', parent_user_id: 'US.ENT.100' },
    ])

    const found = await resolve(database, [
      { phone: '15550100001' },
      { user_id: 'US.100' },
      { parent_user_id: 'US.ENT.100' },
      { phone: '15550100001', user_id: 'US.100' },
    ])

    expect(new Set(found)).toEqual(new Set([everything]))
  })

  test('is the result of refs in one batch that share an identifier, whichever ref links them', async () => {
    const ids = await resolve(database, [
      { phone: '15550101001' },
      { user_id: 'US.101' },
      { parent_user_id: 'US.ENT.101' },
      { phone: '15550101001', user_id: 'US.101' },
      { user_id: 'US.101', parent_user_id: 'US.ENT.101' },
    ])

    expect(new Set(ids).size).toBe(1)
  })

  test('learns an identifier that comes later', async () => {
    const [first] = await resolve(database, [{ phone: '15550102001' }])
    await resolve(database, [{ phone: '15550102001', user_id: 'US.102' }])

    expect(await resolve(database, [{ user_id: 'US.102' }])).toEqual([first])
  })

  test('keeps the user ids that two business portfolios have for one phone', async () => {
    const [phone, first, second] = ['15550103001', 'US.103', 'US.1030']
    const ids = [
      await seen({ phone, user_id: first }, 'waba-1', 0),
      await seen({ phone, user_id: second }, 'waba-2', 1),
      await seen({ phone, user_id: first }, 'waba-1', 2),
      await seen({ user_id: first }, 'waba-1', 3),
      await seen({ user_id: second }, 'waba-2', 3),
    ]

    expect(new Set(ids).size).toBe(1)
  })

  test.each([
    ['Brazil with and without the ninth digit', '5511961230001', '551161230001'],
    ['Mexico with 52 and 521', '5215551230001', '525551230001'],
    ['Argentina with 54 and 549', '5491155500001', '541155500001'],
  ])('%s', async (_name, long, short) => {
    const [one] = await resolve(database, [{ phone: long }])

    expect(await resolve(database, [{ phone: short }])).toEqual([one])
  })

  test('is a group by its id alone, whatever else is in the ref', async () => {
    const [person] = await resolve(database, [{ phone: '15550104001' }])
    const [group] = await resolve(database, [{ group_id: 'group-104' }])

    expect(group).not.toBe(person)
    expect(await resolve(database, [{ group_id: 'group-104', phone: '15550104001' }])).toEqual([group])
  })

  test('stands for all refs without any identifier', async () => {
    const ids = await resolve(database, [{}, { name: 'Ana Example' }, { phone: '', user_id: '' }])

    expect(new Set(ids).size).toBe(1)
    expect(await resolve(database, [{}])).toEqual([ids[0]])
    expect(await profile(ids[0])).toEqual({ name: null, username: null, phone: null })
  })
})

test('returns ids in the order of the refs, also with repetitions', async () => {
  const a = { phone: '15550200001' }
  const b = { user_id: 'US.200' }

  const first = await resolve(database, [a, b, a, a, b])
  const second = await resolve(database, [b, a, b])

  const [idA, idB] = first
  expect(idA).not.toBe(idB)
  expect(first).toEqual([idA, idB, idA, idA, idB])
  expect(second).toEqual([idB, idA, idB])
})

test('returns no ids for no refs', async () => {
  expect(await resolve(database, [])).toEqual([])
})

describe('hostile identifiers', () => {
  const refs: ContactRef[] = [
    { user_id: 'US.\u0000nul' },
    { user_id: 'US.\ud800lone' },
    { user_id: `US.${'long'.repeat(500_000)}` },
    { user_id: `US.${'long'.repeat(500_000)}.` },
    { user_id: '\u{1F600}'.repeat(400) },
    { phone: 'not a number' },
    { phone: '1'.repeat(5000) },
    { group_id: `${'\u0000'.repeat(3000)}` },
    { parent_user_id: '__proto__' },
    { user_id: 'NULL' },
    { user_id: '{"a",\\"b}' },
    { user_id: "'; DROP TABLE contacts; --" },
  ]

  test('are stored, found again, and stay apart', async () => {
    const ids = await resolve(database, refs)

    expect(new Set(ids).size).toBe(refs.length)
    expect(await resolve(database, refs)).toEqual(ids)
  })

  test('can come with hostile names', async () => {
    const [id] = await resolve(database, [
      { user_id: 'US.210', name: `A\u0000\ud800${'x'.repeat(1_000_000)}`, username: '\u0000' },
    ])

    const stored = await profile(id)
    expect(stored.name).toMatch(/^A\uFFFD\uFFFDx+$/)
    expect(stored.name?.length).toBeLessThan(1000)
  })

  test('can come with times that no column holds', async () => {
    const times = [new Date(Number.NaN), new Date(8.64e15), new Date(-8.64e15)]
    const refsAtTimes = times.map((seen_at) => ({ ref: { user_id: 'US.211' }, seen_at }))

    const ids = await database.db.transaction().execute((trx) => resolveContacts(trx, refsAtTimes))

    expect(new Set(ids).size).toBe(1)
  })
})

describe('a phone that is seen with two user ids', () => {
  test('is of two people, one after the other, where both ids are of one account', async () => {
    const phone = '15550120001'
    const ann = await seen({ phone, user_id: 'US.1200' }, 'waba-1', 0)
    const bob = await seen({ phone, user_id: 'US.1201' }, 'waba-1', 10)

    expect(bob).not.toBe(ann)
    expect(await seen({ phone }, 'waba-1', 9)).toBe(ann)
    expect(await seen({ phone }, 'waba-1', 11)).toBe(bob)
    expect(await addresses(ann)).toEqual(['US.1200'])
    expect(await addresses(bob)).toEqual(['15550120001', 'US.1201'])
  })

  test('goes back to the first one when it is seen with their user id again', async () => {
    const phone = '15550121001'
    const ann = await seen({ phone, user_id: 'US.1210' }, 'waba-1', 0)
    await seen({ phone, user_id: 'US.1210' }, 'waba-1', 20)
    const bob = await seen({ phone, user_id: 'US.1211' }, 'waba-1', 10)

    expect(await seen({ phone }, 'waba-1', 5)).toBe(ann)
    expect(await seen({ phone }, 'waba-1', 15)).toBe(bob)
    expect(await seen({ phone }, 'waba-1', 25)).toBe(ann)
  })

  test('is of two people where a third id shows that both accounts belong to one portfolio', async () => {
    await seen({ user_id: 'US.1220' }, 'waba-122a', 0)
    await seen({ user_id: 'US.1220' }, 'waba-122b', 1)
    const phone = '15550122001'

    const ann = await seen({ phone, user_id: 'US.1221' }, 'waba-122a', 0)
    const bob = await seen({ phone, user_id: 'US.1222' }, 'waba-122b', 10)

    expect(bob).not.toBe(ann)
  })

  test('is of two people as long as the account of one of them is unknown', async () => {
    const phone = '15550123001'
    const [first] = await resolve(database, [{ phone, user_id: 'US.1230' }])
    const second = await seen({ phone, user_id: 'US.1231' }, 'waba-2', 10)
    expect(second).not.toBe(first)

    await seen({ phone, user_id: 'US.1230' }, 'waba-1', 20)

    expect(await seen({ user_id: 'US.1231' }, 'waba-2', 30)).toBe(
      await seen({ user_id: 'US.1230' }, 'waba-1', 30),
    )
  })

  test('gets no more entries than sixteen when two ids take turns with it, and both keep their contacts', async () => {
    const phone = '15550124001'
    const turns = Array.from({ length: 30 }, (_, day) => `US.124${day % 2}`)

    const ids: (string | undefined)[] = []
    for (const [day, user_id] of turns.entries()) ids.push(await seen({ phone, user_id }, 'waba-1', day))

    expect(new Set(ids).size).toBe(2)
    const { rows } = await database.pool.query('SELECT FROM contact_identifiers WHERE value = $1', [phone])
    expect(rows).toHaveLength(16)
  })

  test('is of the person who has the user id, when an earlier version has stored both', async () => {
    const phone = '15550125001'
    const ann = await seen({ phone, user_id: 'US.1250' }, 'waba-1', 0)
    await database.pool.query(
      'UPDATE contact_identifiers SET account = NULL, first_linked_at = NULL, last_linked_at = NULL WHERE contact_id = $1',
      [ann],
    )

    const bob = await seen({ phone, user_id: 'US.1251' }, 'waba-1', 10)

    expect(bob).not.toBe(ann)
    expect(await seen({ phone }, 'waba-1', 5)).toBe(ann)
    expect(await seen({ phone }, 'waba-1', 15)).toBe(bob)
  })
})

describe('name, username and phone', () => {
  test('are those seen last, in whatever order they arrive', async () => {
    const [id] = await resolve(database, [{ user_id: 'US.300', name: 'Second' }], at(2))
    await resolve(database, [{ user_id: 'US.300', name: 'First' }], at(1))
    expect(await profile(id)).toMatchObject({ name: 'Second' })

    await resolve(database, [{ user_id: 'US.300', name: 'Third' }], at(3))
    expect(await profile(id)).toMatchObject({ name: 'Third' })
  })

  test('are those seen last within a batch', async () => {
    const [id] = await database.db.transaction().execute((trx) =>
      resolveContacts(trx, [
        { ref: { user_id: 'US.301', name: 'New' }, seen_at: at(2) },
        { ref: { user_id: 'US.301', name: 'Old' }, seen_at: at(1) },
      ]),
    )

    expect(await profile(id)).toMatchObject({ name: 'New' })
  })

  test('fill what is not known yet, also from an older message', async () => {
    const [id] = await resolve(database, [{ user_id: 'US.302', name: 'Ana' }], at(2))
    await resolve(database, [{ user_id: 'US.302', username: 'ana', phone: '15550302001' }], at(1))

    expect(await profile(id)).toEqual({ name: 'Ana', username: 'ana', phone: '15550302001' })
  })

  test('do not alternate with the two spellings of a number', async () => {
    const [id] = await resolve(database, [{ phone: '5511961230303' }], at(1))
    await resolve(database, [{ phone: '551161230303' }], at(2))

    expect(await profile(id)).toMatchObject({ phone: '5511961230303' })
  })

  test('of a group are its own', async () => {
    const [id] = await resolve(database, [{ group_id: 'group-304', name: 'Team' }])

    expect(await profile(id)).toMatchObject({ name: 'Team' })
  })
})

describe('a contact that is already known', () => {
  test('costs one query and the lock', async () => {
    const refs = [{ phone: '15550400001', user_id: 'US.400', name: 'Ana' }, { group_id: 'group-400' }, {}]
    await resolve(database, refs)

    expect(await countQueries(refs)).toBe(2)
  })

  test('is not written again with every message', async () => {
    const ref = { phone: '15550401001', user_id: 'US.401', name: 'Ana' }
    const [id] = await resolve(database, [ref], at(0))
    const before = await versions(id)

    for (let minute = 1; minute <= 30; minute += 1) await resolve(database, [ref], at(minute))

    expect(await versions(id)).toEqual(before)
  })

  test('has its last use moved after an hour', async () => {
    await resolve(database, [{ phone: '15550402001' }], at(0))
    await resolve(database, [{ phone: '15550402001' }], at(61))

    const { rows } = await database.pool.query(
      `SELECT first_used_at, last_used_at FROM contact_identifiers WHERE value = '15550402001'`,
    )
    expect(rows).toEqual([{ first_used_at: at(0), last_used_at: at(61) }])
  })
})

/** The contact of a ref that a webhook of this account names on that day. */
async function seen(ref: ContactRef, account: string, day: number): Promise<string | undefined> {
  const sightings = [{ ref, seen_at: at(day * 24 * 60), account }]
  const [id] = await database.db.transaction().execute((trx) => resolveContacts(trx, sightings))
  return id
}

/** What the contact can be reached by. */
async function addresses(id: string | undefined): Promise<string[]> {
  const { rows } = await database.pool.query(
    `SELECT value FROM contact_identifiers WHERE contact_id = $1 AND retired_at = 'infinity' ORDER BY kind, value`,
    [id],
  )
  return rows.map(({ value }) => value)
}

async function profile(id: string | undefined) {
  const { rows } = await database.pool.query('SELECT name, username, phone FROM contacts WHERE id = $1', [id])
  return rows[0] as { name: string | null; username: string | null; phone: string | null }
}

/** The row versions of a contact: they change with every write. */
async function versions(id: string | undefined) {
  const { rows } = await database.pool.query(
    `SELECT xmin::text, 'contact' AS value FROM contacts WHERE id = $1
    UNION ALL SELECT xmin::text, value FROM contact_identifiers WHERE contact_id = $1 ORDER BY value`,
    [id],
  )
  return rows
}

async function countQueries(refs: ContactRef[]): Promise<number> {
  const queries: string[] = []
  const dialect = new PostgresDialect({ pool: database.pool })
  const logged = new Kysely<Database>({ dialect, log: ({ query }) => void queries.push(query.sql) })
  await resolve({ ...database, db: logged }, refs)
  return queries.filter((text) => !/^(begin|commit)/i.test(text)).length
}
