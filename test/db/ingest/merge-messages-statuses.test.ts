/** The statuses of a message that came before its id, also where the process that sets the id is killed or another writer is in between. */
import { randomUUID } from 'node:crypto'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { beforeAll, describe, expect, test } from 'vitest'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { identifyMessage } from '../../../src/db/ingest/merge-messages.ts'
import { claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import type { Database } from '../../../src/db/schema.ts'
import { cleanUp } from '../../support/clean-up.ts'
import { messageItem, statusItem } from '../../support/facts.ts'
import { holdLock } from '../../support/held-lock.ts'
import { META_CUSTOMER_PHONE, META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})

const nextId = () => `wamid.${randomUUID()}`
const business_number = META_PHONE_NUMBER_ID
const ERRORS = '[{"code":131026}]'
const storeFailed = (id: string) =>
  writeBatch(database.db, [statusItem(id, 'failed', { business_number, errors: ERRORS })])
const message = async (id: string) =>
  (await database.pool.query('SELECT status, error, wa_message_id FROM chat_messages WHERE id = $1', [id]))
    .rows[0]

/** The database as a process sees it that is killed right after it has committed the id of a message. */
function killedAfterId(): Kysely<Database> {
  const pool = new pg.Pool({ connectionString: database.url })
  let hasId = false
  const db = new Kysely<Database>({
    dialect: new PostgresDialect({ pool }),
    log: ({ query }) => {
      if (/SET wa_message_id = \$/.test(query.sql)) hasId = true
      if (hasId && query.sql === 'commit') pool.connect = () => Promise.reject(new Error('killed'))
    },
  })
  cleanUp(() => db.destroy())
  return db
}

describe('statuses that came before the id, when the process is killed after setting it', () => {
  test('are those of a message that the provider accepted', async () => {
    const [id, wa_message_id] = [await orderText(database.db), nextId()]
    const outcome = await claimNext(database.db, id)
    if (outcome.kind !== 'claimed') throw new Error(outcome.kind)
    await storeFailed(wa_message_id)

    const recorded = recordSendResult(
      killedAfterId(),
      outcome.claim,
      { kind: 'accepted', wa_message_id },
      'digest',
    )

    await expect(recorded).rejects.toThrow('killed')
    expect(await message(id)).toEqual({ status: 'failed', error: JSON.parse(ERRORS), wa_message_id })
  })

  test('are those of a group message', async () => {
    const [id, wa_message_id] = [await orderText(database.db), nextId()]
    await writeBatch(database.db, [
      statusItem(wa_message_id, 'delivered', { business_number, participant: '15550000001' }),
      statusItem(wa_message_id, 'read', { business_number, participant: '15550000002' }),
    ])

    await expect(identifyMessage(killedAfterId(), { message_id: id, wa_message_id })).rejects.toThrow(
      'killed',
    )

    expect((await message(id)).status).toBe('delivered')
  })

  test.each(['status', 'echo'])('are those of a message that was identified by its %s', async (kind) => {
    const [id, wa_message_id] = [await orderText(database.db), nextId()]
    const { rows } = await database.pool.query('SELECT callback_id FROM chat_messages WHERE id = $1', [id])
    const { callback_id } = rows[0]
    await storeFailed(wa_message_id)
    const item =
      kind === 'status'
        ? statusItem(wa_message_id, 'sent', { business_number, callback_id })
        : messageItem(wa_message_id, {
            source: 'echo',
            direction: 'outbound',
            business_number,
            contact: { phone: META_CUSTOMER_PHONE },
            callback_id,
          })

    await expect(writeBatch(killedAfterId(), [item])).rejects.toThrow('killed')

    expect(await message(id)).toMatchObject({ status: 'failed', wa_message_id })
  })
})

test('a status that is stored while the id is being committed is applied', async () => {
  const own = await createTestDatabase()
  await own.pool.query(`
    CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql
      AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER wait AFTER UPDATE OF wa_message_id ON chat_messages
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()`)
  const [id, wa_message_id] = [await orderText(own.db), nextId()]
  const lock = await holdLock(own, 'SELECT pg_advisory_xact_lock(4711)')
  const identified = identifyMessage(own.db, { message_id: id, wa_message_id })
  await lock.reached()

  await writeBatch(own.db, [statusItem(wa_message_id, 'failed', { business_number })])
  await lock.release()

  expect(await identified).toBe('identified')
  const { rows } = await own.pool.query('SELECT status FROM chat_messages WHERE id = $1', [id])
  expect(rows).toEqual([{ status: 'failed' }])
})
