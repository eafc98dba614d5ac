/** Which values the row of an outbound message has after it got the provider's id, also beside other writers of the row. */
import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { MessageFact } from '../../../src/core/fact.ts'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { type Identification, identifyMessage } from '../../../src/db/ingest/merge-messages.ts'
import { messageItem } from '../../support/facts.ts'
import { holdLock, withoutIndexes } from '../../support/held-lock.ts'
import { META_CUSTOMER_PHONE, META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

const [EARLY, LATE] = [new Date('2026-05-01T10:00:00Z'), new Date('2026-05-01T10:00:05Z')]
const ERROR = [{ code: 131026 }]

const query = async (text: string, ...values: unknown[]) => (await database.pool.query(text, values)).rows
const nextId = () => `wamid.${randomUUID()}`
const message = async (id: string) => (await query('SELECT * FROM chat_messages WHERE id = $1', id))[0]
const idOf = async (wa_message_id: string) =>
  (await query('SELECT id FROM chat_messages WHERE wa_message_id = $1', wa_message_id))[0]?.id
const announced = async (id: string) =>
  (await query(`SELECT kind FROM changes WHERE message_id = $1 AND kind = 'message.status'`, id)).length

type Own = { status?: string; error?: unknown; sent_at?: Date; wa_message_id?: string; not_before?: Date }

/** A message from the API with these values; returns its id. */
async function ordered({
  status = 'queued',
  error,
  sent_at,
  wa_message_id,
  not_before,
}: Own = {}): Promise<string> {
  const id = await orderText(database.db)
  await query(
    `UPDATE chat_messages SET status = $2, error = $3, sent_at = $4, wa_message_id = $5, not_before = $6,
       updated_at = created_at WHERE id = $1`,
    id,
    status,
    error === undefined ? null : JSON.stringify(error),
    sent_at,
    wa_message_id,
    not_before,
  )
  return id
}

/** Stores another row of the message. */
const writeEcho = (wa_message_id: string, fact: Partial<MessageFact> = {}) =>
  writeBatch(database.db, [
    messageItem(wa_message_id, {
      source: 'echo',
      direction: 'outbound',
      business_number: META_PHONE_NUMBER_ID,
      ...fact,
    }),
  ])
const identify = (message_id: string, wa_message_id: string, rest: Partial<Identification> = {}) =>
  identifyMessage(database.db, { message_id, wa_message_id, ...rest })

describe('a message that gets its id', () => {
  test.each<{ what: string; own: Own; told?: Partial<Identification>; after: object }>([
    { what: 'is accepted', own: {}, after: { status: 'accepted' } },
    {
      what: 'loses the error of a send in doubt, and its time of the next try',
      own: { status: 'unknown', error: ERROR, not_before: LATE },
      after: { status: 'accepted', error: null, not_before: null },
    },
    {
      what: 'keeps a later status with its error',
      own: { status: 'undelivered', error: ERROR },
      after: { status: 'undelivered', error: ERROR },
    },
    {
      what: 'has not failed here after all',
      own: { status: 'failed', error: ERROR },
      after: { status: 'accepted', error: null },
    },
    {
      what: 'loses a status that has no rank',
      own: { status: 'scheduled' },
      after: { status: 'accepted' },
    },
    { what: 'gets the time of the provider', own: {}, told: { sent_at: EARLY }, after: { sent_at: EARLY } },
    {
      what: 'keeps the time that it has',
      own: { sent_at: EARLY },
      told: { sent_at: LATE },
      after: { sent_at: EARLY },
    },
    { what: 'has an empty id as good as none', own: { wa_message_id: '' }, after: { status: 'accepted' } },
  ])('$what', async ({ own, told, after }) => {
    const [id, wa_message_id] = [await ordered(own), nextId()]
    const before = await message(id)

    expect(await identify(id, wa_message_id, told)).toBe('identified')

    const row = await message(id)
    expect(row).toMatchObject({ wa_message_id, ...after })
    expect(row.updated_at > before.updated_at).toBe(true)
    expect(await announced(id)).toBe(1)
  })

  test('and has it is raised by what the id proves, once', async () => {
    const wa_message_id = nextId()
    const id = await ordered({ status: 'accepted', wa_message_id })

    for (let time = 0; time < 2; time++)
      expect(await identify(id, wa_message_id, { status: 'sent' })).toBe('known')

    expect(await message(id)).toMatchObject({ wa_message_id, status: 'sent' })
    expect(await announced(id)).toBe(1)
  })
})

test('a message that has its id and failed at the provider stays failed when the response comes', async () => {
  const wa_message_id = nextId()
  const id = await ordered({ status: 'failed', error: ERROR, wa_message_id })

  expect(await identify(id, wa_message_id)).toBe('known')

  expect(await message(id)).toMatchObject({ status: 'failed', error: ERROR })
})

describe('a message whose other row is stored', () => {
  test.each<{ what: string; own: Own; other: Partial<MessageFact>; after: object }>([
    {
      what: 'takes a later status with its error',
      own: {},
      other: { status: 'failed', error: JSON.stringify(ERROR) },
      after: { status: 'failed', error: ERROR },
    },
    {
      what: 'keeps a later status with its error',
      own: { status: 'undelivered', error: ERROR },
      other: { status: 'sent' },
      after: { status: 'undelivered', error: ERROR },
    },
    {
      what: 'has the error of its later status alone',
      own: { status: 'unknown', error: [{ code: 'timeout' }] },
      other: { status: 'failed', error: JSON.stringify(ERROR) },
      after: { status: 'failed', error: ERROR },
    },
    {
      what: 'has not failed here after all',
      own: { status: 'failed', error: ERROR },
      other: { status: 'sent' },
      after: { status: 'sent', error: null },
    },
    {
      what: 'keeps its status where the other has none',
      own: { status: 'read' },
      other: {},
      after: { status: 'read' },
    },
    {
      what: 'takes the time of the other row',
      own: { sent_at: LATE },
      other: { sent_at: EARLY },
      after: { sent_at: EARLY },
    },
    {
      what: 'keeps its time where the other has none',
      own: { sent_at: LATE },
      other: {},
      after: { sent_at: LATE },
    },
  ])('$what', async ({ own, other, after }) => {
    const [id, wa_message_id] = [await ordered(own), nextId()]
    await writeEcho(wa_message_id, other)

    expect(await identify(id, wa_message_id)).toBe('merged')

    expect(await message(id)).toMatchObject({ wa_message_id, ...after })
  })

  test('is another message when a different provider sent that', async () => {
    const [id, wa_message_id] = [await ordered(), nextId()]
    await writeEcho(wa_message_id, { provider: 'twilio' })

    expect(await identify(id, wa_message_id)).toBe('taken')
  })
})

describe('where the other row cannot be moved', () => {
  /** `onDelete`: what the user's trigger does. */
  async function identifyRefused(onDelete: string) {
    const [id, wa_message_id] = [await ordered(), nextId()]
    await writeEcho(wa_message_id, { status: 'delivered' })
    await query(`
      CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${onDelete}; END $$;
      CREATE TRIGGER refuse BEFORE DELETE ON chat_messages FOR EACH ROW EXECUTE FUNCTION refuse()`)
    const outcome = await identify(id, wa_message_id).catch((err: Error) => err.message)
    await query('DROP TRIGGER refuse ON chat_messages')
    expect(await message(id)).toMatchObject({ wa_message_id: null, status: 'queued' })
    expect(await idOf(wa_message_id)).not.toBe(id)
    return outcome
  }
  const raise = (state: string) => `RAISE 'not this one' USING ERRCODE = '${state}'`

  test.each([
    ['of a constraint', raise('23514')],
    ['a trigger keeps it silently', 'RETURN NULL'],
  ])('because %s, both stay as they are', async (_, onDelete) => {
    expect(await identifyRefused(onDelete)).toBe('taken')
  })

  test('because of another error, that error is told and both stay as they are', async () => {
    expect(await identifyRefused(raise('P0001'))).toBe('not this one')
  })
})

describe('a message that gets its id beside other writers', () => {
  test('keeps the id that another writer gives it meanwhile', async () => {
    const [id, other] = [await ordered(), nextId()]
    const lock = await holdLock(
      database,
      `UPDATE chat_messages SET wa_message_id = '${other}' WHERE id = ${id}`,
    )
    const identified = identify(id, nextId())
    await lock.reached()

    await lock.release()

    expect(await identified).toBe('other')
    expect(await message(id)).toMatchObject({ wa_message_id: other })
  })

  test('waits for a merge of contacts', async () => {
    const id = await ordered()
    const merge = await holdLock(database, `SELECT pg_advisory_xact_lock(${0x77612d63}, 1)`)
    const identified = identify(id, nextId())
    await merge.reached()

    await merge.release()

    expect(await identified).toBe('identified')
  })

  test.each([
    ['before', 'id <> id'],
    ['behind', 'id = $1'],
  ])('locks its own row last, also when it lies %s the other one in the table', async (_, moves) => {
    const [id, wa_message_id] = [await ordered(), nextId()]
    await writeEcho(wa_message_id, { contact: { phone: META_CUSTOMER_PHONE } })
    // A new version of a row lies behind the others.
    await query(
      `UPDATE chat_messages SET created_at = created_at WHERE ${moves} AND $1::bigint IS NOT NULL`,
      id,
    )
    const lock = await holdLock(
      database,
      `SELECT FROM chat_messages WHERE wa_message_id = '${wa_message_id}' FOR UPDATE`,
    )
    const identified = identifyMessage(withoutIndexes(database), { message_id: id, wa_message_id })
    await lock.reached()

    const free = await query('SELECT FROM chat_messages WHERE id = $1 FOR UPDATE SKIP LOCKED', id)
    await lock.release()

    expect(await identified).toBe('merged')
    expect(free).toHaveLength(1)
  })
})
