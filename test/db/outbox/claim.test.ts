import { beforeAll, describe, expect, test } from 'vitest'
import { writeBatch } from '../../../src/db/ingest/batch-writer.ts'
import { type ClaimOutcome, claimNext } from '../../../src/db/outbox/claim.ts'
import { failExpiredSends } from '../../../src/db/outbox/sweep.ts'
import { statusItem } from '../../support/facts.ts'
import { holdLock } from '../../support/held-lock.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
  // Enough tokens for every test, and a row whose lock holds up a claim before it changes the message.
  await database.pool.query(
    `INSERT INTO send_buckets (provider, business_number, rate_per_second, tokens, refilled_at)
     VALUES ('meta', $1, 1000, 100, now())`,
    [META_PHONE_NUMBER_ID],
  )
})

const somebody = () => String(++phones)
const order = (phone = somebody(), text?: string) => orderText(database.db, text, { to: { phone } })
const read = async (id: string) =>
  (await database.pool.query('SELECT * FROM chat_messages WHERE id = $1', [id])).rows[0]

/** Claims while `during` runs between the look at the row and its change. */
async function claimMeanwhile(id: string, during: () => Promise<unknown>): Promise<ClaimOutcome> {
  const lock = await holdLock(database, 'SELECT FROM send_buckets FOR UPDATE')
  const claiming = claimNext(database.db, id)
  await lock.reached()
  await during()
  await lock.release()
  return claiming
}

describe('a claim', () => {
  test('of a conversation whose message is being sent waits, and changes nothing', async () => {
    const phone = somebody()
    const first = await order(phone, 'first')
    const second = await order(phone, 'second')
    expect(await claimNext(database.db, second)).toMatchObject({ kind: 'claimed', claim: { attempt: 1 } })
    const before = [await read(first), await read(second)]

    for (const id of [first, second]) expect(await claimNext(database.db, id)).toEqual({ kind: 'waiting' })

    expect([await read(first), await read(second)]).toEqual(before)
    expect(before.map(({ status }) => status)).toEqual(['sending', 'queued'])
  })

  test('of one message by many workers at the same time is made once', async () => {
    const id = await order()

    const outcomes = await Promise.all(Array.from({ length: 8 }, () => claimNext(database.db, id)))

    expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(['claimed', ...Array(7).fill('waiting')])
    expect((await read(id)).send_attempts).toBe(1)
  })

  test('that a status of an earlier attempt overtakes claims nothing', async () => {
    const id = await order()
    const { callback_id } = await read(id)

    const outcome = await claimMeanwhile(id, () =>
      writeBatch(database.db, [
        statusItem('wamid.OVERTAKES', 'delivered', { business_number: META_PHONE_NUMBER_ID, callback_id }),
      ]),
    )

    expect(outcome).toEqual({ kind: 'idle' })
    expect(await read(id)).toMatchObject({ status: 'delivered', send_attempts: 0 })
  })

  test('that the sweep overtakes claims nothing', async () => {
    const id = await order()
    await database.pool.query(
      `UPDATE chat_messages SET created_at = now() - interval '25 hours' WHERE id = $1`,
      [id],
    )

    expect(await claimMeanwhile(id, () => failExpiredSends(database.db))).toEqual({ kind: 'idle' })

    expect(await read(id)).toMatchObject({ status: 'failed', send_attempts: 0 })
  })
})
