import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SendResult } from '../../../src/core/outbound.ts'
import { closeForOtherCredentials, readOpenBreakers } from '../../../src/db/outbox/circuit-breaker.ts'
import { type Claim, claimNext } from '../../../src/db/outbox/claim.ts'
import { recordSendResult } from '../../../src/db/outbox/record-result.ts'
import { forgetEndedRefusals } from '../../../src/db/outbox/send-refusals.ts'
import { wamid } from '../../support/meta-webhooks.ts'
import { orderText } from '../../support/outbound.ts'
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts'

const error = { code: 131042, message: 'not eligible' }
/** In the name of the number. */
const STOPPED: SendResult = { kind: 'stop_sender', error }
/** In the name of the provider: by a proxy on the way. */
const REFUSED_ON_THE_WAY: SendResult = { kind: 'not_sent', reason: 'refused_on_the_way', error }
const RECIPIENT_RATE: SendResult = { kind: 'not_sent', reason: 'recipient_rate', error }
const accepted = (): SendResult => ({ kind: 'accepted', wa_message_id: wamid() })
const FAILED: SendResult = { kind: 'failed', error: { code: 131026, message: 'not on WhatsApp' } }

let database: TestDatabase
let phones = 15551230000

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(() => database.pool.query('DELETE FROM send_pauses; DELETE FROM send_refusals'))

const order = (number = 'one') =>
  orderText(database.db, 'Hello', { to: { phone: String(++phones) } }, { defaultNumbers: { meta: number } })
const claim = async (id: string): Promise<Claim> => {
  const outcome = await claimNext(database.db, id)
  if (outcome.kind !== 'claimed') throw new Error(`not claimed: ${outcome.kind}`)
  return outcome.claim
}
const send = async (id: string, result: SendResult) =>
  recordSendResult(database.db, await claim(id), result, 'one')
const endPauses = () => database.pool.query('UPDATE send_pauses SET paused_until = clock_timestamp()')
const endWait = (id: string) =>
  database.pool.query('UPDATE chat_messages SET not_before = clock_timestamp() WHERE id = $1', [id])
const endAll = async (id: string) => {
  await endPauses()
  await endWait(id)
}
/** Refused, and then another message of its number has passed. */
const orderRefused = async (refusal: SendResult = STOPPED, passes = accepted, number = 'one') => {
  const id = await order('one')
  await send(id, refusal)
  await endPauses()
  await send(await order(number), passes())
  await endWait(id)
  return id
}
const waitOf = async (id: string): Promise<number> =>
  (
    await database.pool.query(
      'SELECT round(extract(epoch FROM not_before - clock_timestamp()))::integer AS seconds FROM chat_messages WHERE id = $1',
      [id],
    )
  ).rows[0].seconds

describe('a message that is refused in the name of its sender', () => {
  test.each([
    ['number', STOPPED],
    ['provider', REFUSED_ON_THE_WAY],
  ])('stops the %s, and waits a little longer, so that another one is the trial', async (_, refusal) => {
    const id = await order()
    await database.pool.query(
      `INSERT INTO send_pauses (provider, business_number, paused_until, failures, since, updated_at)
       VALUES ('twilio', '', now() + interval '1 hour', 1, now(), now())`,
    )

    expect(await send(id, refusal)).toBe('queued')

    expect(await waitOf(id)).toBe(65)
    expect(await readOpenBreakers(database.db)).toHaveLength(2)
    expect(await claimNext(database.db, id)).toEqual({ kind: 'waiting' })
    await endWait(id)
    expect(await claimNext(database.db, id)).toEqual({ kind: 'paused' })
  })

  test('is suspected while it alone was refused: another one need not wait for the pause, and is the trial', async () => {
    const id = await order()
    await send(id, STOPPED)

    const trial = await claim(await order())

    expect(await claimNext(database.db, await order())).toEqual({ kind: 'paused' })
    await recordSendResult(database.db, trial, accepted(), 'one')
    expect(await readOpenBreakers(database.db)).toEqual([])
  })

  test('is suspected no longer once another one was refused', async () => {
    await send(await order(), STOPPED)
    const other = await order()
    await send(other, STOPPED)

    expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 2 }])
    expect(await claimNext(database.db, await order())).toEqual({ kind: 'paused' })
    await endAll(other)
    await send(other, STOPPED)
    expect(await claimNext(database.db, await order())).toEqual({ kind: 'paused' })
  })

  test('is suspected no longer once another one is in doubt', async () => {
    await send(await order(), STOPPED)

    await send(await order(), { kind: 'unknown', error: { code: 'timeout', message: 'no answer' } })

    expect(await claimNext(database.db, await order())).toEqual({ kind: 'paused' })
  })

  test('waits alone when it is refused again and another one has passed', async () => {
    const id = await orderRefused()

    expect(await send(id, STOPPED)).toBe('queued')

    expect(await waitOf(id)).toBe(60)
    expect(await readOpenBreakers(database.db)).toEqual([])
    await send(await order(), accepted())
    await endWait(id)
    await send(id, STOPPED)
    expect(await waitOf(id)).toBe(240)
  })

  test('fails with the refusal when others have passed three times in between', async () => {
    const id = await orderRefused()
    for (const outcome of ['queued', 'queued', 'failed']) {
      expect(await send(id, STOPPED)).toBe(outcome)
      await send(await order(), accepted())
      await endWait(id)
    }

    const { rows } = await database.pool.query('SELECT error FROM chat_messages WHERE id = $1', [id])
    expect(rows).toEqual([{ error: [error] }])
    expect(await readOpenBreakers(database.db)).toEqual([])
  })

  test('stays the trial, and never fails, while no other has passed', async () => {
    const id = await order()
    for (let failures = 1; failures <= 5; failures++) {
      expect(await send(id, STOPPED)).toBe('queued')
      expect(await readOpenBreakers(database.db)).toMatchObject([{ failures }])
      await endAll(id)
    }
  })

  test('waits alone, and does not fail, while no other has passed since it waited alone', async () => {
    const id = await orderRefused()
    for (let i = 0; i < 5; i++) {
      expect(await send(id, STOPPED)).toBe('queued')
      expect(await readOpenBreakers(database.db)).toEqual([])
      await endWait(id)
    }
  })

  test('takes for passed also what the provider refused for a reason of its own', async () => {
    const id = await orderRefused(STOPPED, () => FAILED)

    await send(id, STOPPED)

    expect(await readOpenBreakers(database.db)).toEqual([])
  })

  test.each([
    ['of another number, where its number was stopped', STOPPED, 1],
    ['of any number, where its provider was', REFUSED_ON_THE_WAY, 0],
  ])('compares itself with messages %s', async (_, refusal, breakers) => {
    const id = await orderRefused(refusal, accepted, 'two')
    await endAll(id)

    await send(id, refusal)

    expect(await readOpenBreakers(database.db)).toHaveLength(breakers)
  })

  test('does not take for another one that it has passed itself', async () => {
    const id = await order()
    await send(id, STOPPED)
    await endAll(id)
    await send(id, RECIPIENT_RATE)
    expect(await readOpenBreakers(database.db)).toEqual([])
    await endWait(id)

    await send(id, STOPPED)

    expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 1 }])
  })

  test.each(['not_called', 'file_missing'] as const)(
    'leaves the breaker open when it is the trial and nobody asked the provider: %s',
    async (reason) => {
      const id = await order()
      await send(id, STOPPED)
      await endAll(id)

      await send(id, { kind: 'not_sent', reason, error })

      expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 1 }])
    },
  )

  test('is not the reason when it is the trial of a breaker that others have opened', async () => {
    const id = await orderRefused()
    await send(await order(), STOPPED)
    await endPauses()

    await send(id, STOPPED)

    expect(await readOpenBreakers(database.db)).toMatchObject([{ failures: 2 }])
  })

  test('is never the reason where the worker has no credentials', async () => {
    const missing: SendResult = {
      kind: 'stop_sender',
      error: { code: 'not_configured', message: 'no token' },
    }
    const id = await orderRefused(missing)

    await send(id, missing)

    expect(await readOpenBreakers(database.db)).toHaveLength(1)
  })
})

test('another credential ends the wait of the messages that were refused', async () => {
  const [id, other] = [await order(), await order()]
  await send(id, STOPPED)

  await closeForOtherCredentials(database.db, { meta: 'one' })
  expect(await waitOf(id)).toBe(65)
  await closeForOtherCredentials(database.db, { meta: 'another' })

  expect(await claimNext(database.db, id)).toMatchObject({ kind: 'claimed', claim: { trial: null } })
  expect(await claimNext(database.db, other)).toMatchObject({ kind: 'claimed' })
  await forgetEndedRefusals(database.db)
  expect((await database.pool.query('SELECT FROM send_refusals')).rowCount).toBe(0)
})

test('a credential of one number ends no wait of another number, which was refused with a newer one', async () => {
  const [early, late] = [await order(), await order('two')]
  await send(early, STOPPED)
  await recordSendResult(database.db, await claim(late), STOPPED, 'another')

  await closeForOtherCredentials(database.db, { meta: 'another' })

  expect(await claimNext(database.db, early)).toMatchObject({ kind: 'claimed' })
  expect(await waitOf(late)).toBe(65)
})

test('a message that is given up fails also where the sweep has made it unknown meanwhile', async () => {
  const id = await orderRefused()
  for (let times = 1; times < 3; times++) {
    await send(id, STOPPED)
    await send(await order(), accepted())
    await endWait(id)
  }
  const claimed = await claim(id)
  await database.pool.query(`UPDATE chat_messages SET status = 'unknown' WHERE id = $1`, [id])

  expect(await recordSendResult(database.db, claimed, STOPPED, 'one')).toBe('failed')
})

test('refusals are forgotten when their message waits no longer', async () => {
  const [waiting, failed, sent, sending] = [
    await order(),
    await order('two'),
    await order('three'),
    await order('four'),
  ]
  for (const id of [waiting, failed, sent, sending]) await send(id, STOPPED)
  for (const id of [failed, sent, sending]) await endAll(id)
  await send(failed, FAILED)
  await send(sent, accepted())
  await claim(sending)

  await forgetEndedRefusals(database.db)

  const { rows } = await database.pool.query('SELECT message_id FROM send_refusals ORDER BY message_id')
  expect(rows).toEqual([{ message_id: waiting }, { message_id: sending }])
})
