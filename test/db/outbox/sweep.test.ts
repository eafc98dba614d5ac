import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { SWEEP } from '../../../src/core/send-policy.ts'
import { claimNext } from '../../../src/db/outbox/claim.ts'
import { failExpiredSends, findDueSends, markLostSendsUnknown } from '../../../src/db/outbox/sweep.ts'
import { eventually } from '../../support/eventually.ts'
import { holdLock } from '../../support/held-lock.ts'
import { META_PHONE_NUMBER_ID } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(() =>
  database.pool.query(
    'DELETE FROM send_pauses; DELETE FROM send_refusals; TRUNCATE chat_messages, conversations, contacts CASCADE',
  ),
)

const order = (number = META_PHONE_NUMBER_ID, phone = String(++phones)) =>
  orderText(database.db, 'Hello', { to: { phone } }, { defaultNumbers: { meta: number } })
const set = (id: string, assignments: string) =>
  database.pool.query(`UPDATE chat_messages SET ${assignments} WHERE id = $1`, [id])
const claim = (id: string) =>
  eventually(async () => expect(await claimNext(database.db, id)).toMatchObject({ kind: 'claimed' }))
const openHalf = (number: string) =>
  database.pool.query(
    `INSERT INTO send_pauses (provider, business_number, paused_until, failures, since, updated_at)
     VALUES ('meta', $1, clock_timestamp(), 1, now(), now())`,
    [number],
  )
/** Its own notification may be lost. */
const OLD = `created_at = now() - interval '1 minute'`
const read = async (id: string) =>
  (await database.pool.query('SELECT * FROM chat_messages WHERE id = $1', [id])).rows[0]

/** The same message to other people, one conversation each. Returns all ids, the oldest first. */
async function copyMany(id: string, count: number): Promise<string[]> {
  await database.pool.query(
    `WITH people AS (INSERT INTO contacts (name) SELECT 'somebody' FROM generate_series(1, $2::integer) RETURNING id),
     places AS (
       INSERT INTO conversations (provider, business_number, contact_id)
       SELECT c.provider, c.business_number, p.id FROM people p, chat_messages m JOIN conversations c ON c.id = m.conversation_id
       WHERE m.id = $1 RETURNING id
     )
     INSERT INTO chat_messages (conversation_id, direction, provider, client_message_id, callback_id, source, detail,
       message_type, content, status, request, request_hash, created_at)
     SELECT places.id, direction, provider, gen_random_uuid(), gen_random_uuid(), source, detail, message_type, content,
       status, request, request_hash, m.created_at
     FROM places, chat_messages m WHERE m.id = $1`,
    [id, count],
  )
  const { rows } = await database.pool.query<{ id: string }>('SELECT id FROM chat_messages ORDER BY id')
  return rows.map((row) => row.id)
}

describe('the sweep', () => {
  test('takes a send for lost after a minute, and not while a worker may be calling', async () => {
    const id = await order()
    await claim(id)
    const waiting = await order()
    // Queued again after a refusal.
    await set(waiting, `sending_since = clock_timestamp() - interval '2 minutes'`)

    await set(id, `sending_since = clock_timestamp() - interval '50 seconds'`)
    expect(await markLostSendsUnknown(database.db)).toBe(0)
    expect((await read(id)).status).toBe('sending')
    await set(id, `sending_since = clock_timestamp() - interval '61 seconds'`)
    expect(await markLostSendsUnknown(database.db)).toBe(1)

    expect(await read(id)).toMatchObject({ status: 'unknown', error: [{ code: 'lost' }] })
    expect((await read(waiting)).status).toBe('queued')
  })

  test('fails a message that waited for a day, not one that waited for less, and keeps its last refusal', async () => {
    const id = await order()
    await set(
      id,
      `error = '[{"code": 131056, "message": "too many"}]', created_at = now() - interval '23 hours'`,
    )
    const sending = await order()
    await claim(sending)
    await set(sending, `created_at = now() - interval '25 hours'`)
    expect(await failExpiredSends(database.db)).toBe(0)
    expect((await read(id)).status).toBe('queued')

    await set(id, `created_at = now() - interval '24 hours 1 minute'`)
    expect(await failExpiredSends(database.db)).toBe(1)

    expect(await read(id)).toMatchObject({
      status: 'failed',
      error: [{ code: 'expired' }, { code: 131056 }],
    })
    expect((await read(sending)).status).toBe('sending')
  })

  test.each([
    ['lost', `status = 'sending', sending_since = now() - interval '2 minutes'`, markLostSendsUnknown],
    ['expired', `status = 'queued', created_at = now() - interval '25 hours'`, failExpiredSends],
  ] as const)(
    'does not wait for a row whose result is being recorded, and keeps that result: %s',
    async (code, assignments, sweep) => {
      const [recorded, other] = [await order(), await order()]
      for (const id of [recorded, other]) await set(id, assignments)
      const lock = await holdLock(
        database,
        `UPDATE chat_messages SET status = 'accepted' WHERE id = ${recorded}`,
      )

      const swept = sweep(database.db)
      expect(await Promise.race([swept, lock.reached().then(() => 'waits')])).toBe(1)
      await lock.release()

      expect(await read(other)).toMatchObject({ error: [{ code }] })
      expect(await read(recorded)).toMatchObject({ status: 'accepted', error: null })
    },
  )

  test.each([`source = 'webhook'`, `wa_message_id = 'wamid.KNOWN'`])(
    'leaves rows alone that are no sends of the API: %s',
    async (assignment) => {
      const [sending, queued] = [await order(), await order()]
      await set(sending, `status = 'sending', sending_since = now() - interval '2 minutes', ${assignment}`)
      await set(queued, `created_at = now() - interval '25 hours', ${assignment.replace('KNOWN', 'TOO')}`)

      expect(await markLostSendsUnknown(database.db)).toBe(0)
      expect(await failExpiredSends(database.db)).toBe(0)
      expect(await findDueSends(database.db)).toEqual([])
    },
  )

  test('notifies of nothing in a conversation that is sending a younger message', async () => {
    const phone = String(++phones)
    const [older, younger] = [await order(undefined, phone), await order(undefined, phone)]
    for (const id of [older, younger]) await set(id, OLD)
    await set(younger, `status = 'sending'`)

    expect(await findDueSends(database.db)).toEqual([])
  })

  test('notifies of nothing while the breaker of the number or of its provider is open', async () => {
    const [meta, paused] = [await order(), await order('paused')]
    const twilio = await orderText(database.db, 'Hello', {
      to: { phone: String(++phones) },
      provider: 'twilio',
    })
    for (const id of [meta, paused, twilio]) await set(id, OLD)
    const due = async (provider: string, number: string, until: string) => {
      await database.pool.query(
        `INSERT INTO send_pauses (provider, business_number, paused_until, failures, since, updated_at)
         VALUES ($1, $2, clock_timestamp() + $3::interval, 1, now(), now())`,
        [provider, number, until],
      )
      const found = await findDueSends(database.db)
      await database.pool.query('DELETE FROM send_pauses')
      return found
    }

    expect(await due('meta', 'paused', '1 minute')).toEqual([meta, twilio])
    expect(await due('meta', '', '1 minute')).toEqual([twilio])
    expect(await due('twilio', 'paused', '1 minute')).toEqual([meta, paused, twilio])
  })

  test('notifies of one message while a breaker is half-open: of its number, or of its provider', async () => {
    const [first, second, other] = [await order('one'), await order('one'), await order('other')]
    for (const id of [first, second, other]) await set(id, OLD)

    await openHalf('one')
    expect(await findDueSends(database.db)).toEqual([first, other])
    await openHalf('')
    expect(await findDueSends(database.db)).toEqual([first])
  })

  test('begins a trial with a message of a type that was not refused', async () => {
    const refused = await order('one')
    const [alike, unlike] = [await order('one'), await order('one')]
    for (const id of [refused, alike, unlike]) await set(id, OLD)
    await set(unlike, `message_type = 'template'`)
    await openHalf('one')
    await database.pool.query(
      `INSERT INTO send_refusals (message_id, provider, business_number, updated_at) VALUES ($1, 'meta', 'one', now())`,
      [refused],
    )

    expect(await findDueSends(database.db)).toEqual([unlike])
    await set(unlike, `status = 'failed'`)
    expect(await findDueSends(database.db)).toEqual([alike])
    await set(alike, `status = 'failed'`)
    expect(await findDueSends(database.db)).toEqual([refused])
  })

  test('notifies of a text behind any number of files of its number', async () => {
    const file = await order()
    await set(
      file,
      `${OLD}, request = jsonb_set(request, '{content}', '{"type": "image", "media": {"upload_id": "1"}}')`,
    )
    const files = await copyMany(file, SWEEP.maxSendsANumber + 1)
    const text = await order()
    await set(text, OLD)

    const due = await findDueSends(database.db)

    expect(due).toHaveLength(SWEEP.maxSendsANumber + 1)
    expect(due).toContain(text)
    expect(due).toContain(files[0])
  })

  test('notifies of a message when its own notification may be lost, or its back-off is over; of no other', async () => {
    const phone = String(++phones)
    const due = await order(undefined, phone)
    const next = await order(undefined, phone)
    for (const id of [due, next]) await set(id, OLD)
    const fresh = await order()
    const backsOff = await order()
    await set(backsOff, `${OLD}, not_before = clock_timestamp() + interval '5 seconds'`)
    const sending = await order()
    await set(sending, OLD)
    await claim(sending)
    const paused = await order('paused')
    await set(paused, OLD)
    await database.pool.query(
      `INSERT INTO send_pauses (provider, business_number, paused_until, failures, since, updated_at)
       VALUES ('meta', 'paused', clock_timestamp() + interval '1 minute', 1, now(), now())`,
    )

    await set(fresh, 'created_at = clock_timestamp()')
    expect(await findDueSends(database.db)).toEqual([due])
    await set(backsOff, 'not_before = clock_timestamp()')
    await set(fresh, 'created_at = clock_timestamp()')
    expect(await findDueSends(database.db)).toEqual([due, backsOff])
  })

  test('notifies of as many messages of each number as it may send, whatever waits for another', async () => {
    const many = await copyMany(await order('busy'), SWEEP.maxSendsANumber + 2)
    const other = await order('other')
    const namesake = await orderText(
      database.db,
      'Hello',
      { to: { phone: String(++phones) }, provider: 'twilio' },
      { defaultNumbers: { twilio: 'busy' } },
    )
    await database.pool.query(`UPDATE chat_messages SET created_at = now() - interval '1 minute'`)

    const due = await findDueSends(database.db)

    expect(due).toEqual([...many.slice(0, SWEEP.maxSendsANumber), other, namesake])
  })
})
