/** How the status of a message follows from its status rows: in groups, and beside other writers of the same message. */
import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { applyStatuses } from '../../../src/db/ingest/statuses.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { BUSINESS_NUMBER, messageItem, RECEIVED_AT, statusItem } from '../../support/facts.ts'
import { holdLock, withoutIndexes } from '../../support/held-lock.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

let count = 0
const nextId = () => {
  count += 1
  return `wamid.${String(count).padStart(4, '0')}`
}
const write = (...items: StoreItem[]) => writeBatch(database.db, items)
const sent = (id: string, fact: Partial<MessageFact> = {}) =>
  messageItem(id, { direction: 'outbound', source: 'echo', status: 'accepted', ...fact })
const stored = (id: string) =>
  database.db
    .selectFrom('chat_messages')
    .select(['id', 'status', 'error', 'updated_at'])
    .where('wa_message_id', '=', id)
    .executeTakeFirstOrThrow()
const changesOf = async (id: string) => {
  const message_id = (await stored(id)).id
  const rows = await database.db
    .selectFrom('changes')
    .select('kind')
    .where('message_id', '=', message_id)
    .orderBy('id')
    .execute()
  return rows.map(({ kind }) => kind)
}

describe('the status of a message to a group', () => {
  const errors = '[{"code":131049}]'
  test.each<{ what: string; told: [participant: string, status: string][]; status: string; error?: unknown }>(
    [
      {
        what: 'is the lowest of the highest of each participant',
        told: [
          ['1', 'delivered'],
          ['1', 'played'],
          ['2', 'sent'],
          ['2', 'read'],
        ],
        status: 'read',
      },
      {
        what: 'counts one without a participant as the least that is known',
        told: [
          ['1', 'sent'],
          ['', 'delivered'],
        ],
        status: 'delivered',
      },
      {
        what: 'is not held back by one without a participant',
        told: [
          ['1', 'delivered'],
          ['', 'sent'],
        ],
        status: 'delivered',
      },
      {
        what: 'ignores unknown words',
        told: [
          ['1', 'delivered'],
          ['1', 'zooming'],
          ['2', 'zooming'],
          ['', 'zooming'],
        ],
        status: 'delivered',
      },
      {
        what: 'is the later name of two of one rank',
        told: [
          ['1', 'failed'],
          ['1', 'undelivered'],
        ],
        status: 'undelivered',
      },
      {
        what: 'is the earlier name of two participants of one rank',
        told: [
          ['1', 'undelivered'],
          ['2', 'failed'],
        ],
        status: 'failed',
      },
      {
        what: 'is the later name of a participant and of none',
        told: [
          ['1', 'failed'],
          ['', 'undelivered'],
        ],
        status: 'undelivered',
      },
      {
        what: 'comes with the error of the participant that it is of',
        told: [
          ['1', 'failed'],
          ['2', 'delivered'],
        ],
        status: 'failed',
        error: JSON.parse(errors),
      },
    ],
  )('$what, in every order and in one batch', async ({ told, status, error = expect.anything() }) => {
    const orders = [told, told.toReversed()].map((order) => ({ id: nextId(), order }))
    const itemsOf = ({ id, order }: (typeof orders)[number]) =>
      order.map(([participant, word]) =>
        statusItem(id, word, { participant, ...(word === 'failed' ? { errors } : {}) }),
      )
    const [first, second] = orders.map(({ order }) => ({ id: nextId(), order }))
    await write(sent(first!.id), sent(second!.id), ...itemsOf(first!), ...itemsOf(second!))
    for (const one of orders) {
      await write(sent(one.id))
      for (const item of itemsOf(one)) await write(item)
    }

    for (const { id } of [...orders, first!, second!])
      expect(await stored(id)).toMatchObject({ status, ...(status === 'failed' ? { error } : {}) })
  })

  test('is set where the message has none', async () => {
    const id = nextId()
    await write(messageItem(id, { direction: 'outbound', source: 'history' }))

    await write(statusItem(id, 'delivered', { participant: '1' }))

    expect(await stored(id)).toMatchObject({ status: 'delivered' })
  })

  test('is announced once, without the status of a single participant before it, and not again', async () => {
    const id = nextId()
    await write(sent(id))

    await write(
      statusItem(id, 'read', { participant: '1' }),
      statusItem(id, 'delivered', { participant: '2' }),
    )
    await applyStatuses(database.db, [id])

    expect(await changesOf(id)).toEqual(['message.created', 'message.status'])
  })

  test('loses its error when it is no failure any more', async () => {
    const id = nextId()
    await write(sent(id), statusItem(id, 'failed', { participant: '1', errors }))

    await write(statusItem(id, 'delivered', { participant: '1' }))

    expect(await stored(id)).toMatchObject({ status: 'delivered', error: null })
  })

  test('counts what another writer stores while this one waits for the message', async () => {
    const id = nextId()
    await write(sent(id))
    const lock = await holdLock(
      database,
      `SELECT FROM chat_messages WHERE wa_message_id = '${id}' FOR UPDATE`,
    )
    const written = write(statusItem(id, 'read', { participant: '1' }))
    await lock.reached()

    await database.pool.query(
      `INSERT INTO message_statuses (wa_message_id, status, participant, provider, business_number, received_at)
       VALUES ($1, 'delivered', '2', 'meta', '', now())`,
      [id],
    )
    await lock.release()
    await written

    expect(await stored(id)).toMatchObject({ status: 'delivered' })
  })
})

describe('the status of a message to one person', () => {
  test.each([
    {
      what: 'is the highest one, not the newest',
      words: ['sent', 'delivered', 'accepted'],
      status: 'delivered',
    },
    { what: 'is the later name of two of one rank', words: ['failed', 'undelivered'], status: 'undelivered' },
    { what: 'is no unknown word', words: ['zooming', 'sent'], status: 'sent' },
    { what: 'stays unknown where only unknown words are told', words: ['zooming'], status: null },
  ])('$what', async ({ words, status }) => {
    const [one, other] = [nextId(), nextId()]
    const first = messageItem(one, { direction: 'outbound', source: 'history' })
    const second = messageItem(other, { direction: 'outbound', source: 'history' })

    await write(first, ...words.map((word) => statusItem(one, word)))
    await write(second, ...words.toReversed().map((word) => statusItem(other, word)))

    expect([await stored(one), await stored(other)]).toMatchObject([{ status }, { status }])
  })
})

test('a status is kept with all that the provider says of it', async () => {
  const id = nextId()
  const callback_id = randomUUID()
  await write(
    statusItem(id, 'failed', {
      participant: '15550001234',
      callback_id,
      occurred_at: new Date('2026-06-01T11:59:58Z'),
      errors: '[{"code":131026}]',
      pricing: '{"billable":true}',
      conversation: '{"id":"c-1"}',
    }),
  )

  const rows = await database.db
    .selectFrom('message_statuses')
    .selectAll()
    .where('wa_message_id', '=', id)
    .execute()
  expect(rows).toMatchObject([
    {
      status: 'failed',
      participant: '15550001234',
      provider: 'meta',
      business_number: BUSINESS_NUMBER,
      callback_id,
      occurred_at: new Date('2026-06-01T11:59:58Z'),
      errors: [{ code: 131026 }],
      pricing: { billable: true },
      conversation: { id: 'c-1' },
      payload: { id, status: 'failed' },
      raw: null,
      received_at: new Date(RECEIVED_AT),
    },
  ])
})

test('a status changes its message once: repeated, it changes and announces nothing', async () => {
  const id = nextId()
  await write(sent(id))
  const before = await stored(id)
  const failed = statusItem(id, 'failed', { errors: '[{"code":131026}]' })

  expect(await write(failed, statusItem(id, 'failed'))).toEqual(['stored', 'duplicate'])
  const after = await stored(id)
  expect(await write(failed)).toEqual(['duplicate'])

  expect(after).toMatchObject({ status: 'failed', error: [{ code: 131026 }] })
  expect(after.updated_at.getTime()).toBeGreaterThan(before.updated_at.getTime())
  expect(await stored(id)).toEqual(after)
  expect(await changesOf(id)).toEqual(['message.created', 'message.status'])
})

test('two writers that store the same statuses in another order wait for each other, and do not deadlock', async () => {
  const [first, second] = [nextId(), nextId()]
  const insert = (id: string) =>
    `INSERT INTO message_statuses (wa_message_id, status, provider, business_number, received_at)
     VALUES ('${id}', 'sent', 'meta', '', now())`
  const other = await holdLock(database, insert(first))
  const written = write(statusItem(second, 'sent'), statusItem(first, 'sent'))
  await other.reached()

  await other.run(insert(second))
  await other.release()

  expect(await written).toEqual(['duplicate', 'duplicate'])
})

test('a status that waits for the message does not take back the one that the message has by then', async () => {
  const id = nextId()
  await write(sent(id))
  const lock = await holdLock(
    database,
    `UPDATE chat_messages SET status = 'read' WHERE wa_message_id = '${id}'`,
  )
  const written = write(statusItem(id, 'delivered'))
  await lock.reached()

  await lock.release()
  await written

  expect(await stored(id)).toMatchObject({ status: 'read' })
})

test.each([
  ['of one person', ''],
  ['of a group', '1'],
])(
  'messages %s are locked in the order of wa_message_id, not as they lie in the table',
  async (_, participant) => {
    const [first, second] = [nextId(), nextId()]
    await write(sent(second))
    await write(sent(first))
    const lock = await holdLock(
      database,
      `SELECT FROM chat_messages WHERE wa_message_id = '${first}' FOR UPDATE`,
    )
    const items = [first, second].map((id) => statusItem(id, 'delivered', { participant }))
    const written = writeBatch(withoutIndexes(database), items)
    await lock.reached()

    const { rows } = await database.pool.query(
      'SELECT FROM chat_messages WHERE wa_message_id = $1 FOR UPDATE SKIP LOCKED',
      [second],
    )
    await lock.release()
    await written

    expect(rows).toHaveLength(1)
  },
)
