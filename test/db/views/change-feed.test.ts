import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { pruneChanges } from '../../../src/db/prune-changes.ts'
import {
  type ChangeView,
  readChanges,
  readNewestCursor,
  readPresentCursor,
} from '../../../src/db/views/change-feed.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'
import { waitForVisibleChanges } from '../../support/visible-changes.ts'

describe('readChanges', () => {
  test('returns every change with the present state of its message', async () => {
    const { db } = await createTestDatabase()
    await writeBatch(db, [
      messageItem('wamid.1', { content: 'Hello', direction: 'outbound', status: 'sent' }),
    ])
    await writeBatch(db, [statusItem('wamid.1', 'read')])
    await waitForVisibleChanges(db)

    const { items, next } = await readChanges(db, { limit: 10 })

    expect(items).toMatchObject([
      { kind: 'message.created', message: { content: 'Hello', status: 'read', wa_message_id: 'wamid.1' } },
      { kind: 'message.status', message: { content: 'Hello', status: 'read' } },
    ])
    expect(next).toBe(items[1]?.cursor)
    expect(await readChanges(db, { after: next, limit: 10 })).toEqual({ items: [], next })
  })

  test('continues after any item of a page', async () => {
    const { db } = await createTestDatabase()
    await writeBatch(
      db,
      ['wamid.1', 'wamid.2', 'wamid.3'].map((id) => messageItem(id)),
    )
    await waitForVisibleChanges(db)
    const all = await readChanges(db, { limit: 10 })

    const pages = await Promise.all(
      all.items.map((item) => readChanges(db, { after: item.cursor, limit: 1 })),
    )

    expect(pages.map((page) => page.items)).toEqual([[all.items[1]], [all.items[2]], []])
  })

  test('begins with the next change when it starts from the present cursor', async () => {
    const { db } = await createTestDatabase()
    await writeBatch(db, [messageItem('wamid.before')])
    await waitForVisibleChanges(db)

    const present = await readPresentCursor(db)
    await writeBatch(db, [messageItem('wamid.after')])
    await waitForVisibleChanges(db)

    const { items } = await readChanges(db, { after: present, limit: 10 })
    expect(items.map((item) => item.message?.wa_message_id)).toEqual(['wamid.after'])
  })

  test('the cursor of an empty feed misses nothing that follows', async () => {
    const { db } = await createTestDatabase()

    const { next } = await readChanges(db, { limit: 10 })
    await writeBatch(db, [messageItem('wamid.1')])
    await waitForVisibleChanges(db)

    expect((await readChanges(db, { after: next, limit: 10 })).items).toHaveLength(1)
  })

  test('holds back changes while an older transaction is open', async () => {
    const { db, url } = await createTestDatabase()
    const slow = await openSession(url)
    await slow.query('BEGIN')
    await slow.query(INSERT_CHANGE, ['slow'])
    await db.insertInto('changes').values({ kind: 'fast' }).execute()

    const before = await readChanges(db, { limit: 10 })
    await slow.query('COMMIT')
    await waitForVisibleChanges(db)
    const after = await readChanges(db, { after: before.next, limit: 10 })

    expect(before.items).toEqual([])
    expect(after.items.map((item) => item.kind)).toEqual(['slow', 'fast'])
  })

  test('misses and repeats nothing while eight writers commit and roll back slowly', async () => {
    const database = await createTestDatabase()
    const writers = Array.from({ length: 8 }, (_, index) => runWriter(database, index))
    const isWriting = { now: true }
    const written = Promise.all(writers).finally(() => {
      isWriting.now = false
    })

    const [seen, committed] = await Promise.all([follow(database, isWriting), written])

    const expected = committed.flat()
    expect(expected.length).toBeGreaterThan(500)
    expect(seen.map((item) => item.kind).sort()).toEqual(expected.sort())
    expect(new Set(seen.map((item) => item.cursor)).size).toBe(seen.length)
  })

  test.each([
    '',
    '1',
    '1.',
    '.1',
    '-1.2',
    '01.2',
    '1.2.3',
    '1.9223372036854775808',
    '18446744073709551616.1',
    "1.1'",
  ])('refuses the cursor %j as invalid', async (after) => {
    const { db } = await createTestDatabase()

    await expect(readChanges(db, { after, limit: 1 })).rejects.toMatchObject({ reason: 'invalid' })
  })

  test('refuses a cursor from a database that was ahead', async () => {
    const { db } = await createTestDatabase()

    await expect(readChanges(db, { after: '99999999999.5', limit: 1 })).rejects.toMatchObject({
      reason: 'foreign',
    })
  })
})

describe('pruneChanges', () => {
  const DAY = 24 * 60 * 60_000

  async function createAgedDatabase() {
    const database = await createTestDatabase()
    for (const days of [40, 35, 1])
      await database.pool.query(
        `INSERT INTO changes (kind, created_at) VALUES ('old', now() - $1::integer * interval '1 day')`,
        [days],
      )
    await waitForVisibleChanges(database.db)
    const { items } = await readChanges(database.db, { limit: 10 })
    return { ...database, items, cursors: items.map((item) => item.cursor) }
  }

  test('deletes changes older than the limit, and no others', async () => {
    const { db, items } = await createAgedDatabase()

    expect(await pruneChanges(db, 30 * DAY)).toBe(2)
    expect(await pruneChanges(db, 30 * DAY)).toBe(0)

    expect((await readChanges(db, { limit: 10 })).items).toEqual([items[2]])
  })

  test('a reader that has seen all deleted changes continues; one that has not gets an error', async () => {
    const { db, items, cursors } = await createAgedDatabase()

    await pruneChanges(db, 30 * DAY)

    await expect(readChanges(db, { after: cursors[0], limit: 10 })).rejects.toMatchObject({
      reason: 'expired',
    })
    expect((await readChanges(db, { after: cursors[1], limit: 10 })).items).toEqual([items[2]])
  })
})

test('the newest cursor moves with every change that can be read', async () => {
  const { db } = await createTestDatabase()
  const none = await readNewestCursor(db)

  await db.insertInto('changes').values({ kind: 'test' }).execute()
  await waitForVisibleChanges(db)

  expect(none).toBeUndefined()
  expect(await readNewestCursor(db)).toBe((await readChanges(db, { limit: 1 })).next)
})

test('the newest cursor is not one that the feed holds back, so it moves when the older transaction ends', async () => {
  const { db, url } = await createTestDatabase()
  await db
    .insertInto('changes')
    .values([{ kind: 'first' }, { kind: 'second' }])
    .execute()
  await waitForVisibleChanges(db)
  const slow = await openSession(url)
  await slow.query('BEGIN')
  await slow.query(INSERT_CHANGE, ['slow'])
  await db.insertInto('changes').values({ kind: 'fast' }).execute()

  const before = await readNewestCursor(db)
  await slow.query('COMMIT')
  await slow.end()
  await waitForVisibleChanges(db)
  const { items } = await readChanges(db, { limit: 10 })

  expect(items.map(({ kind }) => kind)).toEqual(['first', 'second', 'slow', 'fast'])
  expect(before).toBe(items[1]?.cursor)
  expect(await readNewestCursor(db)).toBe(items[3]?.cursor)
})

const INSERT_CHANGE = 'INSERT INTO changes (kind) VALUES ($1)'

async function openSession(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Writes transactions with several changes each; returns the kinds of the committed ones. */
async function runWriter({ url }: TestDatabase, writer: number): Promise<string[]> {
  const session = await openSession(url)
  const committed: string[] = []
  for (let run = 0; run < 40; run++) {
    const kinds = Array.from({ length: 1 + ((run + writer) % 4) }, (_, part) => `${writer}.${run}.${part}`)
    await session.query('BEGIN')
    for (const kind of kinds) await session.query(INSERT_CHANGE, [kind])
    // Some stay open while the others commit by the dozen.
    if (run % 8 === writer) await session.query('SELECT pg_sleep(0.15)')
    const isKept = (run + writer) % 5 !== 0
    await session.query(isKept ? 'COMMIT' : 'ROLLBACK')
    if (isKept) committed.push(...kinds)
  }
  await session.end()
  return committed
}

/** Reads from its own cursor again and again, until there is nothing left after the last write. */
async function follow({ db }: TestDatabase, isWriting: { now: boolean }): Promise<ChangeView[]> {
  const seen: ChangeView[] = []
  let after: string | undefined
  for (;;) {
    const isLast = !isWriting.now
    if (isLast) await waitForVisibleChanges(db)
    const page = await readChanges(db, { after, limit: 7 })
    seen.push(...page.items)
    after = page.next
    if (isLast && page.items.length === 0) return seen
  }
}

test('the newest cursor is of the newest transaction, whatever its ids and the digits of its number', async () => {
  const { db, pool } = await createTestDatabase()
  await pool.query(`INSERT INTO changes (xid, id, kind) VALUES ('9', 1000000, 'first')`)
  expect(await readNewestCursor(db)).toBe('9.1000000')

  await writeBatch(db, [messageItem('wamid.1')])
  await waitForVisibleChanges(db)

  const { items } = await readChanges(db, { limit: 10 })
  expect(items.map(({ kind }) => kind)).toEqual(['first', 'message.created'])
  expect(await readNewestCursor(db)).toBe(items[1]?.cursor)
})
