/** Sending on both queue backends: once, in order, within the limits, and with a true state at the end. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sendJobId } from '../../src/core/job-id.ts'
import { readOpenBreakers } from '../../src/db/outbox/circuit-breaker.ts'
import { createOutboundMessage } from '../../src/db/outbox/create.ts'
import { BACKENDS, testOnce } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { metaError } from '../support/fake-meta.ts'
import { type Behaviour, holding } from '../support/fake-server.ts'
import { orderText, outboundOptions, textRequest } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'

describe.each(BACKENDS)('on %s', (backend) => {
  const once = testOnce(backend)
  let sending: Sending

  beforeAll(async () => {
    sending = await startSending(backend)
  })
  beforeEach(() => sending.reset())

  const order = async (text = 'Hello', phone = '15551230001') => {
    const id = await orderText(sending.db, text, { to: { phone } })
    await sending.producer.notifySends([id])
    return id
  }
  const textsSent = () => sending.meta.sent().map((body) => (body.text as { body: string }).body)
  const jobCount = async () => {
    const counts = await sending.backend.createQueue('outbound').getJobCounts()
    return Object.values(counts).reduce((sum, count) => sum + count, 0)
  }

  const backOffs = async (id: string) => {
    const { rows } = await sending.database.pool.query(
      'SELECT send_backoffs FROM chat_messages WHERE id = $1',
      [id],
    )
    return rows[0].send_backoffs
  }
  /** As if every message had waited so long that the sweep takes its own notification for lost. */
  const ageNotifications = () =>
    sending.database.pool.query(`UPDATE chat_messages SET created_at = created_at - interval '1 minute'`)
  /** Ends the wait of a message; gives the seconds that it would have taken, rounded: a busy machine adds some. */
  const shorten = async (id: string) => {
    const { rows } = await sending.database.pool.query(
      `WITH before AS (SELECT id, not_before, updated_at FROM chat_messages WHERE id = $1)
       UPDATE chat_messages m SET not_before = clock_timestamp() FROM before WHERE m.id = before.id
       RETURNING round(extract(epoch FROM before.not_before - before.updated_at)) AS seconds`,
      [id],
    )
    return Number(rows[0].seconds)
  }

  test('a notification whose job lost its data does not block later ones', async () => {
    const id = await orderText(sending.db, 'Hello', { to: { phone: '15551230001' } })
    // Without its data and options, as a maxmemory-policy other than noeviction leaves a job.
    await sending.backend.createQueue('outbound').add('send', {}, { jobId: sendJobId(id) })
    sending.startWorker({ sweeps: false })
    await eventually(() => expect(sending.errors).toHaveLength(1))

    await eventually(async () => {
      await sending.producer.notifySends([id])
      expect((await sending.message(id)).status).toBe('accepted')
    })
    expect(sending.meta.sent()).toHaveLength(1)
  })

  test('50 equal requests at the same time, each with its notification, are one row and one call', async () => {
    sending.startWorker()
    sending.startWorker()
    const options = outboundOptions({ idempotencyKey: 'key-1' })

    const outcomes = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const outcome = await createOutboundMessage(sending.db, textRequest(), options)
        // As the API does: a notification that the queue does not confirm in time fails no request.
        if (outcome.kind !== 'refused')
          await sending.producer.notifySends([outcome.message_id]).catch(() => {})
        return outcome
      }),
    )

    const [first] = outcomes
    const id = first !== undefined && 'message_id' in first ? first.message_id : ''
    const row = await sending.hasStatus(id, 'accepted')
    expect(row.wa_message_id).toBe(sending.meta.idOf(row.callback_id))
    expect(await sending.messages()).toHaveLength(1)
    await eventually(async () => expect(await jobCount()).toBe(0))
    expect(sending.meta.sent()).toHaveLength(1)
    // The same request once more, after the message was sent.
    expect(await createOutboundMessage(sending.db, textRequest(), options)).toEqual({
      kind: 'existing',
      message_id: id,
    })
    await sending.producer.notifySends([id])
    await sending.hasStatus(await order('after'), 'accepted')
    expect(textsSent()).toEqual(['Hello', 'after'])
  })

  test('a job leaves nothing in the queue, so that the same message can get another notification', async () => {
    sending.meta.next(metaError(131056))
    sending.startWorker({ sweeps: false })
    const id = await order()
    await sending.hasStatus(id, 'queued')
    await eventually(async () => {
      expect(sending.meta.sent()).toHaveLength(1)
      expect(await jobCount()).toBe(0)
    })

    await eventually(async () => {
      await sending.producer.notifySends([id])
      expect((await sending.message(id)).status).toBe('accepted')
    })
  })

  test('a conversation stays in order while its first message backs off; other conversations do not wait', async () => {
    let refusals = 0
    sending.meta.always((call, exchange) => {
      const isRefused = call.body.includes('"one"') && refusals++ < 2
      return isRefused ? metaError(131056)(call, exchange) : exchange.succeed()
    })
    const ids: string[] = []
    for (const text of ['one', 'two', 'three']) ids.push(await order(text))
    const other = await order('elsewhere', '15551230002')
    // Without the sweep a back-off that ends on a slow machine is not noticed before the test has looked at it.
    sending.startWorker({ sweeps: false })

    const [first = ''] = ids
    const waits: number[] = []
    await eventually(async () => expect(await backOffs(first)).toBe(1))
    await sending.hasStatus(other, 'accepted')
    expect((await sending.message(first)).status).toBe('queued')
    waits.push(await shorten(first))
    await eventually(async () => {
      await sending.producer.notifySends([first])
      expect(await backOffs(first)).toBe(2)
    })
    waits.push(await shorten(first))
    await eventually(async () => {
      await sending.producer.notifySends([first])
      expect((await sending.message(first)).status).toBe('accepted')
    })
    for (const id of ids) await sending.hasStatus(id, 'accepted')

    expect(textsSent().filter((text) => text !== 'elsewhere')).toEqual(['one', 'one', 'one', 'two', 'three'])
    // 4^0 seconds, then 4^1.
    expect(waits).toEqual([1, 4])
  })

  test('a conversation has one call at a time: its next message waits for the answer, other conversations do not', async () => {
    const held = holding()
    sending.meta.next(held.behaviour)
    sending.startWorker()
    const first = await order('one')
    await held.reached()
    const second = await order('two')
    await sending.hasStatus(await order('elsewhere', '15551230002'), 'accepted')
    await sending.producer.notifySends([first, second])
    await sending.hasStatus(await order('elsewhere again', '15551230002'), 'accepted')

    expect(textsSent()).not.toContain('two')
    expect((await sending.message(second)).status).toBe('queued')
    held.release()

    await sending.hasStatus(second, 'accepted')
    expect(textsSent().filter((text) => !text.startsWith('elsewhere'))).toEqual(['one', 'two'])
  })

  once('a message that failed, or whose outcome is unknown, does not block the next one', async () => {
    sending.meta.next(metaError(131047), (_, exchange) => exchange.cut())
    sending.startWorker()
    const ids: string[] = []
    for (const text of ['refused', 'lost', 'third']) ids.push(await order(text))

    await sending.hasStatus(ids[2] ?? '', 'accepted')

    expect(textsSent()).toEqual(['refused', 'lost', 'third'])
    expect((await sending.messages()).map((row) => row.status)).toEqual(['failed', 'unknown', 'accepted'])
  })

  /** A message that may have been sent is never sent again by itself, however many notifications and sweeps follow. */
  once.each<[string, Behaviour, string | number]>([
    ['the connection is cut after the request', (_, exchange) => exchange.cut(), 'UND_ERR_SOCKET'],
    ['the answer is cut off', (_, exchange) => exchange.cutAnswer(), 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
    ['no answer comes', () => {}, 'timeout'],
    ['HTTP 500 without a code', (_, exchange) => exchange.answer(500, 'oops'), 'http_500'],
    ['HTTP 502 of a proxy', (_, exchange) => exchange.answer(502, '<html>'), 'http_502'],
    ['code 131000', metaError(131000, { status: 500 }), 131000],
    ['code 2', metaError(2, { status: 503 }), 2],
    ['200 without an id', (_, exchange) => exchange.answer(200, {}), 'no_message_id'],
  ])('%s: unknown, and never sent again by itself', async (_, behaviour, code) => {
    sending.meta.next(behaviour)
    sending.startWorker({ callTimeoutMs: 500 })
    const id = await order('once')

    const row = await sending.hasStatus(id, 'unknown')
    expect(row.error?.[0]?.code).toBe(code)
    await sending.producer.notifySends([id])
    await sending.hasStatus(await order('next'), 'accepted')

    expect(textsSent()).toEqual(['once', 'next'])
    expect((await sending.message(id)).status).toBe('unknown')
  })

  once(
    'a connection cut before anything was read: unknown, because the request may have arrived',
    async () => {
      sending.meta.cutConnections(true)
      sending.startWorker()
      const id = await order()

      await sending.hasStatus(id, 'unknown')
      sending.meta.cutConnections(false)
      await sending.hasStatus(await order('next'), 'accepted')

      expect(textsSent()).toEqual(['next'])
    },
  )

  once('a refused connection: queued again, and sent once when the provider is back', async () => {
    await sending.meta.refuse()
    sending.startWorker()
    const id = await order()

    await eventually(async () => expect((await sending.message(id)).error?.[0]?.code).toBe('ECONNREFUSED'))
    await sending.meta.listen()
    await ageNotifications()

    await sending.hasStatus(id, 'accepted')
    expect(sending.meta.sent()).toHaveLength(1)
    expect(await readOpenBreakers(sending.db)).toEqual([])
  })

  once.each([130429, 131057])('code %i: the number waits, then everything is sent', async (code) => {
    sending.meta.next(metaError(code))
    sending.startWorker()
    const id = await order()

    await eventually(async () =>
      expect(await readOpenBreakers(sending.db)).toMatchObject([{ error: { code } }]),
    )
    await sending.database.pool.query(`UPDATE send_pauses SET paused_until = clock_timestamp()`)
    await ageNotifications()
    await sending.hasStatus(id, 'accepted')

    expect(textsSent()).toEqual(['Hello', 'Hello'])
    expect(await readOpenBreakers(sending.db)).toEqual([])
  })

  test('a refused token opens the breaker, one message makes the half-open trial, another token closes it at once', async () => {
    sending.meta.always(metaError(190, { status: 401 }))
    const closeFirst = sending.startWorker()
    const ids = await Promise.all(Array.from({ length: 10 }, (_, i) => order(`text ${i}`, `1555123000${i}`)))
    await eventually(async () =>
      expect(await readOpenBreakers(sending.db)).toMatchObject([{ failures: 1, error: { code: 190 } }]),
    )
    // Ends the calls under way too, also of claims that had looked at the breaker before it opened.
    await closeFirst()
    expect((await sending.messages()).map((row) => row.status)).toEqual(ids.map(() => 'queued'))
    const before = sending.meta.sent().length

    const close = sending.startWorker()
    await ageNotifications()
    const held = holding(metaError(190, { status: 401 }))
    sending.meta.next(held.behaviour)
    await sending.database.pool.query(`UPDATE send_pauses SET paused_until = clock_timestamp()`)
    await held.reached()
    // However many notifications the others get during the trial.
    for (let i = 0; i < 5; i++) {
      await sending.producer.notifySends(ids)
      await eventually(async () => expect(await jobCount()).toBeLessThanOrEqual(1))
    }
    expect(sending.meta.sent()).toHaveLength(before + 1)
    held.release()
    await eventually(async () =>
      expect(await readOpenBreakers(sending.db)).toMatchObject([{ failures: 2, error: { code: 190 } }]),
    )
    expect(sending.meta.sent()).toHaveLength(before + 1)

    await close()
    await ageNotifications()
    sending.meta.always((_, exchange) => exchange.succeed())
    sending.startWorker({ accessToken: 'another-token' })
    for (const id of ids) await sending.hasStatus(id, 'accepted')
    expect(await readOpenBreakers(sending.db)).toEqual([])
  })

  once(
    'a provider without credentials: the message waits, and its error names the missing setting',
    async () => {
      const close = sending.startWorker({ accessToken: undefined })
      const id = await order()
      await eventually(async () =>
        expect((await sending.message(id)).error?.[0]?.message).toContain('META_ACCESS_TOKEN'),
      )
      expect((await sending.message(id)).status).toBe('queued')
      await close()

      await ageNotifications()
      sending.startWorker()

      await sending.hasStatus(id, 'accepted')
    },
  )

  once('a number sends no more than its rate in any second', async () => {
    await sending.database.pool.query(
      `INSERT INTO send_buckets (provider, business_number, rate_per_second, tokens, refilled_at)
       VALUES ('meta', '106540352240001', 20, 100, now())`,
    )
    sending.startWorker()
    sending.startWorker()
    const ids = await Promise.all(
      Array.from({ length: 60 }, (_, i) => order(`text ${i}`, `155512300${String(i).padStart(2, '0')}`)),
    )
    for (const id of ids) await sending.hasStatus(id, 'accepted')

    const times = sending.meta.calls.map((call) => call.at).sort((a, b) => a - b)
    const busiest = Math.max(
      ...times.map((from) => times.filter((at) => at >= from && at < from + 1_000).length),
    )
    expect(times).toHaveLength(60)
    // The calls of one moment reach the server with some delay.
    expect(busiest).toBeLessThanOrEqual(24)
  })

  test('the sweep finds a message without a notification', async () => {
    sending.startWorker()
    const id = await orderText(sending.db)
    await ageNotifications()

    await sending.hasStatus(id, 'accepted')
    expect(sending.meta.sent()).toHaveLength(1)
  })

  once('a message that waited for a day fails as expired', async () => {
    const id = await orderText(sending.db)
    await sending.database.pool.query(`UPDATE chat_messages SET created_at = now() - interval '25 hours'`)
    sending.startWorker()

    expect((await sending.hasStatus(id, 'failed')).error?.[0]?.code).toBe('expired')
    expect(sending.meta.sent()).toEqual([])
  })
})
