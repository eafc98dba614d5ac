/** What a new message does to its conversation: the time of the last message, what counts as read, and who has control. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import type { StoreItem } from '../../../src/db/ingest/store-item.ts'
import { messageItem, RECEIVED_AT } from '../../support/facts.ts'
import { holdLock, withoutIndexes } from '../../support/held-lock.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

let count = 0
const next = () => {
  count += 1
  return String(count).padStart(4, '0')
}
const HOUR = 3_600_000
/** Before the messages of support/facts.ts arrive. */
const at = (hour: number) => new Date(RECEIVED_AT - 24 * HOUR + hour * HOUR)

const write = (...items: StoreItem[]) => writeBatch(database.db, items)
const message = (phone: string, fact: Partial<MessageFact> = {}) =>
  messageItem(`wamid.${next()}`, { contact: { phone }, ...fact })
const conversation = async (phone: string) => {
  const { rows } = await database.pool.query(
    'SELECT v.* FROM conversations v JOIN contacts c ON c.id = v.contact_id WHERE c.phone = $1',
    [phone],
  )
  expect(rows).toHaveLength(1)
  return rows[0]
}
/** A person with a conversation that `holder` has controlled since `since`, whose last message is of `last`. */
async function newConversation({ holder = 'other', since = at(2), last = at(5) } = {}): Promise<string> {
  const phone = `1555100${next()}`
  await write(message(phone, { source: 'history', sent_at: last }))
  await database.pool.query(
    `UPDATE conversations SET control_holder = $2, control_role = 'agent', control_at = $3, control_confirmed_at = $3
     WHERE id = $1`,
    [(await conversation(phone)).id, holder, since],
  )
  return phone
}
const controlOf = ({
  control_holder,
  control_role,
  control_at,
  control_confirmed_at,
}: Awaited<ReturnType<typeof conversation>>) => [
  control_holder,
  control_role,
  control_at,
  control_confirmed_at,
]
const controlChanges = async (phone: string) => {
  const { rows } = await database.pool.query(
    `SELECT kind FROM changes WHERE conversation_id = $1 AND kind = 'conversation.control'`,
    [(await conversation(phone)).id],
  )
  return rows.length
}

test.each<{ what: string; facts: Partial<MessageFact>[]; last: Date }>([
  { what: 'a later one sets it', facts: [{ sent_at: at(6) }], last: at(6) },
  { what: 'an earlier one leaves it', facts: [{ sent_at: at(4) }], last: at(5) },
  {
    what: 'the latest of a batch counts',
    facts: [{ sent_at: at(6) }, { sent_at: at(8) }, { sent_at: at(7) }],
    last: at(8),
  },
  { what: 'one without a time has that of its arrival', facts: [{}], last: new Date(RECEIVED_AT) },
  {
    what: 'one from the future too',
    facts: [{ sent_at: new Date('9999-12-31') }],
    last: new Date(RECEIVED_AT),
  },
])('the time of the last message: $what', async ({ facts, last }) => {
  const phone = await newConversation({ holder: 'self' })

  await write(...facts.map((fact) => message(phone, fact)))

  expect(await conversation(phone)).toMatchObject({ last_message_at: last })
})

test.each<{ what: string; facts: Partial<MessageFact>[]; heardAt: Date }>([
  { what: 'later than the handover', facts: [{ sent_at: at(3) }], heardAt: at(3) },
  { what: 'of the same second', facts: [{ sent_at: at(2) }], heardAt: at(2) },
  { what: 'later than all others', facts: [{ sent_at: at(6) }], heardAt: at(6) },
  { what: 'from the future', facts: [{ sent_at: new Date('9999-12-31') }], heardAt: new Date(RECEIVED_AT) },
  {
    what: 'and others, of which the latest counts',
    facts: [{ sent_at: at(3) }, { sent_at: at(4) }],
    heardAt: at(4),
  },
])(
  'an ordinary message $what gives control back to this app, and is announced',
  async ({ facts, heardAt }) => {
    const phone = await newConversation()

    await write(...facts.map((fact) => message(phone, fact)))

    const row = await conversation(phone)
    expect(controlOf(row)).toEqual(['self', null, heardAt, heardAt])
    expect(row.last_message_at).toEqual(new Date(Math.max(heardAt.getTime(), at(5).getTime())))
    expect(await controlChanges(phone)).toBe(1)
  },
)

test.each<{ what: string; fact: Partial<MessageFact>; holder?: string }>([
  { what: 'of before the handover', fact: { sent_at: at(1) } },
  { what: 'whose time is unknown', fact: {} },
  { what: 'of the history', fact: { source: 'history', sent_at: at(6) } },
  { what: 'that was sent from here', fact: { source: 'echo', direction: 'outbound', sent_at: at(6) } },
  { what: 'that goes out, from the webhook', fact: { direction: 'outbound', sent_at: at(6) } },
  { what: 'while this app has it', fact: { sent_at: at(6) }, holder: 'self' },
])('a message $what leaves control as it is, and announces nothing', async ({ fact, holder = 'other' }) => {
  const phone = await newConversation({ holder })

  await write(message(phone, fact))

  expect(controlOf(await conversation(phone))).toEqual([holder, 'agent', at(2), at(2)])
  expect(await controlChanges(phone)).toBe(0)
})

describe('a conversation that is marked as read up to a later message', () => {
  const LATER = 1_000_000
  async function markOf(facts: Partial<MessageFact>[]) {
    const phone = await newConversation({ holder: 'self' })
    const { id } = await conversation(phone)
    await database.pool.query('UPDATE conversations SET last_read_message_id = $2 WHERE id = $1', [id, LATER])
    await write(...facts.map((fact) => message(phone, { sent_at: at(4), ...fact })))
    const { rows } = await database.pool.query(
      'SELECT id FROM chat_messages WHERE conversation_id = $1 ORDER BY id',
      [id],
    )
    const { last_read_message_id } = await conversation(phone)
    return { mark: Number(last_read_message_id), ids: rows.slice(1).map((row) => Number(row.id)) }
  }

  test('is marked up to before the first new one that nobody has seen', async () => {
    const { mark, ids } = await markOf([{}, { source: 'echo', direction: 'outbound' }, {}])

    expect(mark).toBe(Math.min(...ids) - 1)
  })

  test.each<[string, Partial<MessageFact>]>([
    ['the history', { source: 'history' }],
    ['this side', { source: 'echo', direction: 'outbound' }],
  ])('keeps its mark when the new one is of %s, also where it is the latest', async (_, fact) => {
    expect((await markOf([fact])).mark).toBe(LATER)
    expect((await markOf([{ ...fact, sent_at: at(6) }])).mark).toBe(LATER)
  })
})

test('a message that waits for its conversation does not set its time back', async () => {
  const phone = await newConversation()
  const { id } = await conversation(phone)
  const lock = await holdLock(
    database,
    `UPDATE conversations SET last_message_at = '${at(9).toISOString()}' WHERE id = ${id}`,
  )
  const written = write(message(phone, { sent_at: at(7) }))
  await lock.reached()

  await lock.release()
  await written

  expect(await conversation(phone)).toMatchObject({ last_message_at: at(9) })
})

test('a message that waits for its conversation does not end control that another app gets meanwhile', async () => {
  const phone = await newConversation()
  const { id } = await conversation(phone)
  const lock = await holdLock(
    database,
    `UPDATE conversations SET control_at = '${at(9).toISOString()}', control_confirmed_at = '${at(9).toISOString()}' WHERE id = ${id}`,
  )
  const written = write(message(phone, { sent_at: at(7) }))
  await lock.reached()

  await lock.release()
  await written

  expect(controlOf(await conversation(phone))).toEqual(['other', 'agent', at(9), at(9)])
  expect(await controlChanges(phone)).toBe(0)
})

test('conversations are locked in the order of their ids, not as they lie in the table', async () => {
  const phones = [await newConversation(), await newConversation()]
  const [first, second] = [(await conversation(phones[0]!)).id, (await conversation(phones[1]!)).id]
  // A new version of a row lies behind the others.
  await database.pool.query('UPDATE conversations SET created_at = created_at WHERE id = $1', [first])
  const lock = await holdLock(database, `SELECT FROM conversations WHERE id = ${first} FOR NO KEY UPDATE`)
  const written = writeBatch(
    withoutIndexes(database),
    phones.map((phone) => message(phone, { sent_at: at(7) })),
  )
  await lock.reached()

  const { rows } = await database.pool.query(
    'SELECT FROM conversations WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED',
    [second],
  )
  await lock.release()
  await written

  expect(rows).toHaveLength(1)
})
