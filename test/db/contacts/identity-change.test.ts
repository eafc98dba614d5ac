import { beforeAll, describe, expect, test } from 'vitest'
import type { ContactRef, IdentityChange } from '../../../src/core/fact.ts'
import { resolveContacts } from '../../../src/db/contacts/resolve-contacts.ts'
import { at, resolve } from '../../support/contact-batches.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const DAY = 24 * 60

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})

describe('a person who changes the number', () => {
  test('is the same contact before and after, in any order and any batches', async () => {
    for (const [index, order] of permutations([0, 1, 2, 3]).entries()) {
      const [before, after] = [`1555110${index + 1000}`, `1555120${index + 1000}`]
      const change = { from: { phone: before }, to: { phone: after }, changed_at: at(10) }
      const arrivals: Arrival[] = [
        { ref: { phone: before }, seen_at: at(5) },
        change,
        // The `system` message itself comes from the old number, at the moment of the change.
        { ref: { phone: before }, seen_at: at(10) },
        { ref: { phone: after }, seen_at: at(15) },
      ]

      for (const position of order) await arrive([arrivals[position] as Arrival])

      const contacts = await Promise.all([
        find({ phone: before }, 5),
        find({ phone: before }, 10),
        find({ phone: after }, 15),
      ])
      expect(new Set(contacts).size, `order ${order}`).toBe(1)
    }
  })

  test('leaves the old number to its next owner', async () => {
    const [person] = await resolve(database, [{ phone: '15551300001' }], at(0))
    await arrive([{ from: { phone: '15551300001' }, to: { phone: '15551300002' }, changed_at: at(10) }])

    const [next] = await resolve(database, [{ phone: '15551300001', user_id: 'US.next' }], at(100 * DAY))

    expect(next).not.toBe(person)
    expect(await find({ phone: '15551300001' }, 101 * DAY)).toBe(next)
    expect(await find({ phone: '15551300001' }, 9)).toBe(person)
    expect(await find({ phone: '15551300002' }, 11)).toBe(person)
  })

  test('may come back to the old number', async () => {
    const [p, q] = ['15551310001', '15551310002']
    const there = { from: { phone: p }, to: { phone: q }, changed_at: at(10) }
    const back = { from: { phone: q }, to: { phone: p }, changed_at: at(20) }
    for (const order of [
      [there, back],
      [back, there],
      [back, there, back, there],
    ]) {
      const isolated = await createTestDatabase()
      for (const change of order) await resolve(isolated, [], at(0), [change])

      const found = [
        ...(await resolve(isolated, [{ phone: p }], at(5))),
        ...(await resolve(isolated, [{ phone: q }], at(15))),
        ...(await resolve(isolated, [{ phone: p }], at(25))),
      ]
      expect(new Set(found).size).toBe(1)
      await isolated.drop()
    }
  })

  test('is still found by a user id that came with the old number', async () => {
    const [person] = await resolve(database, [{ phone: '15551320001', user_id: 'US.132' }], at(0))
    await arrive([{ from: { phone: '15551320001' }, to: { phone: '15551320002' }, changed_at: at(10) }])

    expect(await find({ user_id: 'US.132' }, 20)).toBe(person)
    expect(await find({ phone: '15551320002', user_id: 'US.132' }, 20)).toBe(person)
  })

  test('is shown with the new number', async () => {
    const [person] = await resolve(database, [{ phone: '15551330001' }], at(0))
    await arrive([{ from: { phone: '15551330001' }, to: { phone: '15551330002' }, changed_at: at(10) }])

    const { rows } = await database.pool.query('SELECT phone FROM contacts WHERE id = $1', [person])
    expect(rows).toEqual([{ phone: '15551330002' }])
  })

  test('changes nothing when both are spellings of one number', async () => {
    const [person] = await resolve(database, [{ phone: '5511961230001' }], at(0))
    await arrive([{ from: { phone: '5511961230001' }, to: { phone: '551161230001' }, changed_at: at(10) }])

    expect(await find({ phone: '551161230001' }, 20)).toBe(person)
  })

  test('gets a number from its former owner without being merged with them', async () => {
    const [former] = await resolve(database, [{ phone: '15551340002', user_id: 'US.former' }], at(0))
    const [person] = await resolve(database, [{ phone: '15551340001' }], at(0))
    await arrive([
      { from: { phone: '15551340001' }, to: { phone: '15551340002' }, changed_at: at(100 * DAY) },
    ])

    expect(await find({ phone: '15551340002' }, 101 * DAY)).toBe(person)
    expect(await find({ phone: '15551340002' }, 1)).toBe(former)
    expect(await find({ user_id: 'US.former' }, 101 * DAY)).toBe(former)
  })

  test('is created when the old number was unknown', async () => {
    await arrive([{ from: { phone: '15551350001' }, to: { phone: '15551350002' }, changed_at: at(10) }])

    expect(await find({ phone: '15551350001' }, 5)).toBe(await find({ phone: '15551350002' }, 15))
  })
})

describe('a change that comes late', () => {
  test('is ignored when another contact used the number before and after it', async () => {
    const [other] = await resolve(database, [{ phone: '15551400002' }], at(0))
    await resolve(database, [{ phone: '15551400002' }], at(10 * DAY))
    const [person] = await resolve(database, [{ phone: '15551400001' }], at(0))

    await arrive([{ from: { phone: '15551400001' }, to: { phone: '15551400002' }, changed_at: at(5 * DAY) }])

    expect(await find({ phone: '15551400002' }, 11 * DAY)).toBe(other)
    expect(await find({ phone: '15551400001' }, 11 * DAY)).toBe(person)
  })

  test('is ignored when the number was first used so much later that it may have another owner', async () => {
    const [other] = await resolve(database, [{ phone: '15551410002' }], at(200 * DAY))
    const [person] = await resolve(database, [{ phone: '15551410001' }], at(0))

    await arrive([{ from: { phone: '15551410001' }, to: { phone: '15551410002' }, changed_at: at(5) }])

    expect(await find({ phone: '15551410002' }, 201 * DAY)).toBe(other)
    expect(await find({ phone: '15551410001' }, 4)).toBe(person)
  })

  test('does not give the old number to its next owner', async () => {
    const [next] = await resolve(database, [{ phone: '15551420001' }], at(100 * DAY))

    await arrive([{ from: { phone: '15551420001' }, to: { phone: '15551420002' }, changed_at: at(10) }])

    expect(await find({ phone: '15551420001' }, 101 * DAY)).toBe(next)
    expect(await find({ phone: '15551420002' }, 20)).not.toBe(next)
    expect(await find({ phone: '15551420001' }, 5)).toBe(await find({ phone: '15551420002' }, 20))
  })
})

describe('a person who gets another user id', () => {
  test('is the same contact by both ids, also when a message with the new one came first', async () => {
    const [old] = await resolve(database, [{ user_id: 'US.500', phone: '15551500001' }], at(0))
    const [fresh] = await resolve(database, [{ user_id: 'US.501' }], at(1000 * DAY))

    await arrive([{ from: { user_id: 'US.500' }, to: { user_id: 'US.501' }, changed_at: at(10) }])

    expect(fresh).not.toBe(old)
    expect(await find({ user_id: 'US.500' }, 1001 * DAY)).toBe(old)
    expect(await find({ user_id: 'US.501' }, 1001 * DAY)).toBe(old)
  })

  test('has only the new one marked as in use', async () => {
    await resolve(database, [{ user_id: 'US.510' }], at(0))
    await arrive([{ from: { user_id: 'US.510' }, to: { user_id: 'US.511' }, changed_at: at(10) }])

    const { rows } = await database.pool.query(
      `SELECT value FROM contact_identifiers WHERE value IN ('US.510', 'US.511') AND retired_at = 'infinity'`,
    )
    expect(rows).toEqual([{ value: 'US.511' }])
  })

  test('is one contact when a change of the number and one of the user id report the same event, in either order', async () => {
    for (const [index, swapped] of [false, true].entries()) {
      const id = 15551520000 + index * 10
      const [old, now] = [`${id}`, `${id + 1}`]
      const byNumber = { from: { phone: old }, to: { phone: now }, changed_at: at(10) }
      const byUserId = {
        from: { user_id: `US.${old}` },
        to: { user_id: `US.${now}`, phone: now },
        changed_at: new Date(at(10).getTime() - 3000),
      }
      const changes = swapped ? [byUserId, byNumber] : [byNumber, byUserId]

      for (const change of changes) await arrive([change])

      const found = [
        await find({ phone: old }, 5),
        await find({ user_id: `US.${old}` }, 5),
        await find({ phone: now }, 15),
        await find({ user_id: `US.${now}` }, 15),
      ]
      expect(new Set(found).size).toBe(1)
    }
  })

  test('is merged with the contact that is known by the new id', async () => {
    const [person] = await resolve(database, [{ phone: '15551530001', user_id: 'US.530' }], at(0))
    await resolve(database, [{ phone: '15551530002', user_id: 'US.531' }], at(1))

    await arrive([{ from: { user_id: 'US.530' }, to: { user_id: 'US.531' }, changed_at: at(10) }])

    expect(await find({ phone: '15551530002' }, 20)).toBe(person)
  })
})

test('a change that was applied is not written again', async () => {
  const change = { from: { phone: '15551600001' }, to: { phone: '15551600002' }, changed_at: at(10) }
  await arrive([change])
  const before = await everything()

  await arrive([change])
  await arrive([change, change])

  expect(await everything()).toEqual(before)
})

test('a change without a from, without a to, or of a group does nothing', async () => {
  const before = await everything()

  await arrive([
    { from: {}, to: { phone: '15551610001' }, changed_at: at(1) },
    { from: { phone: '15551610001' }, to: {}, changed_at: at(1) },
    { from: { group_id: 'group-161' }, to: { phone: '15551610001' }, changed_at: at(1) },
    { from: { phone: '15551610001' }, to: { group_id: 'group-161' }, changed_at: at(1) },
  ])

  expect(await everything()).toEqual(before)
})

test('several changes in one batch apply in the order of their times', async () => {
  const changes = [
    { from: { phone: '15551620002' }, to: { phone: '15551620003' }, changed_at: at(20) },
    { from: { phone: '15551620001' }, to: { phone: '15551620002' }, changed_at: at(10) },
  ]
  await resolve(database, [], at(0), changes)

  const found = [
    await find({ phone: '15551620001' }, 5),
    await find({ phone: '15551620002' }, 15),
    await find({ phone: '15551620003' }, 25),
  ]
  expect(new Set(found).size).toBe(1)
})

type Arrival = { ref: ContactRef; seen_at: Date } | IdentityChange

/** One batch. */
async function arrive(arrivals: readonly Arrival[]): Promise<void> {
  const refs = arrivals.flatMap((arrival) => ('ref' in arrival ? arrival : []))
  const changes = arrivals.flatMap((arrival) => ('ref' in arrival ? [] : arrival))
  await database.db.transaction().execute((trx) => resolveContacts(trx, refs, changes))
}

async function find(ref: ContactRef, minutes: number): Promise<string | undefined> {
  const [id] = await resolve(database, [ref], at(minutes))
  return id
}

async function everything() {
  const { rows } = await database.pool.query(
    `SELECT xmin::text, * FROM contact_identifiers ORDER BY kind, value, retired_at`,
  )
  const contacts = await database.pool.query('SELECT xmin::text, * FROM contacts ORDER BY id')
  return [...rows, ...contacts.rows]
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item, index) =>
    permutations(items.toSpliced(index, 1)).map((others) => [item, ...others]),
  )
}
