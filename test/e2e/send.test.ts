/**
 * Sending with real processes that are killed at every step of a send: a message never causes two calls, unless a
 * person requests the second one, and every message ends with a true status.
 */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BACKENDS, testOnce } from '../support/backends.ts'
import { eventually } from '../support/eventually.ts'
import { type FakeMeta, metaStatusOf, startFakeMeta } from '../support/fake-meta.ts'
import { holding } from '../support/fake-server.ts'
import { bearerAuth, send } from '../support/http.ts'
import { META_PHONE_NUMBER_ID } from '../support/meta-webhooks.ts'
import type { CapturedProcess } from '../support/processes.ts'
import { startService, type TestService } from '../support/service.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'

const API_TOKEN = 'test-api-token'
/** Longer than the time that a message may have the status `sending`. */
const LONG_SENDING = '2 minutes'

type Row = { id: string; status: string; wa_message_id: string | null; callback_id: string; error: unknown }

let lastPhone = 15551230100
const somebody = () => `+${++lastPhone}`

describe.each(BACKENDS)('on %s', (backend) => {
  const once = testOnce(backend)
  let meta: FakeMeta
  let graph: TcpProxy
  let service: TestService
  let worker: CapturedProcess
  let hasWorker = false

  beforeAll(async () => {
    meta = await startFakeMeta()
    graph = await startTcpProxy(meta.graphUrl)
    service = await startService({
      backend,
      workers: 0,
      env: {
        API_TOKENS: API_TOKEN,
        META_ACCESS_TOKEN: 'test-access-token',
        META_PHONE_NUMBER_ID,
        META_GRAPH_URL: graph.url,
      },
    })
  })

  // Most tests leave a worker that the next test can use.
  beforeEach(startMissingWorker)

  const post = (to: string, text: string, key?: string) =>
    send(`${service.url}/api/messages`, {
      method: 'POST',
      headers: { ...bearerAuth(API_TOKEN), ...(key === undefined ? {} : { 'idempotency-key': key }) },
      body: { to, type: 'text', text },
    })
  const order = async (to: string, text: string) => {
    const response = await post(to, text)
    expect(response.status).toBe(201)
    return (response.json() as { id: string }).id
  }
  const query = async <T>(text: string, values: unknown[] = []) =>
    (await service.database.pool.query(text, values)).rows as T[]
  const message = async (id: string): Promise<Row> => {
    const [row] = await query<Row>('SELECT * FROM chat_messages WHERE id = $1', [id])
    if (row === undefined) throw new Error(`there is no message ${id}`)
    return row
  }
  const hasStatus = (id: string, status: string) =>
    eventually(
      async () => {
        const row = await message(id)
        expect(row.status, JSON.stringify(row.error)).toBe(status)
        return row
      },
      { timeoutMs: 30_000 },
    )
  const age = (id: string) =>
    query(
      `UPDATE chat_messages SET sending_since = sending_since - interval '${LONG_SENDING}' WHERE id = $1`,
      [id],
    )
  const sentTo = (to: string) =>
    meta
      .sent()
      .filter((body) => body.to === to)
      .map((body) => (body.text as { body: string }).body)
  const tellStatus = async (id: string, status: string) => {
    const { callback_id } = await message(id)
    const wamid = meta.idOf(callback_id) ?? 'wamid.UNSEEN'
    expect((await service.deliver(metaStatusOf(wamid, status, callback_id))).status).toBe(200)
  }

  /** Sends another message: when it is sent, every earlier message of the conversation has been handled. */
  async function sendAnother(to: string): Promise<void> {
    await hasStatus(await order(to, 'another'), 'accepted')
  }

  /** Runs `during` while a transaction holds this lock and a worker waits for it. */
  async function whileLocked(lock: string, begin: () => unknown, during: () => unknown): Promise<void> {
    const client = await service.database.pool.connect()
    try {
      await client.query('BEGIN')
      await client.query(lock)
      await begin()
      await eventually(async () => {
        const waiting = await query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'wa-ingest'
             AND wait_event_type = 'Lock'`,
        )
        expect(waiting.length).toBeGreaterThan(0)
      })
      await during()
    } finally {
      await client.query('ROLLBACK')
      client.release()
    }
  }

  async function startMissingWorker(): Promise<void> {
    if (hasWorker) return
    worker = await service.startWorker({ livesWith: 'file' })
    hasWorker = true
    void worker.ended.then(() => {
      hasWorker = false
    })
  }

  async function killAndReplace(): Promise<void> {
    worker.kill('SIGKILL')
    await worker.ended
    // As if the time had passed after which another worker sweeps.
    await query(`DELETE FROM leases WHERE name = 'send-sweep'`)
    await startMissingWorker()
  }

  test('50 equal requests, the worker killed in between: one message, one call', async () => {
    const to = somebody()
    const responses = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        if (i === 25) worker.kill('SIGKILL')
        return post(to, 'once', `key-${backend}`)
      }),
    )
    await killAndReplace()

    expect(responses.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(responses.filter(({ status }) => status === 200)).toHaveLength(49)
    const ids = new Set(responses.map((response) => (response.json() as { id: string }).id))
    expect(ids.size).toBe(1)
    const [id = ''] = ids
    // A notification that no dead worker holds.
    await order(to, 'another')
    // The worker may have died during the only call.
    await eventually(async () => expect((await message(id)).status).not.toBe('queued'), { timeoutMs: 30_000 })
    await eventually(async () => {
      if ((await message(id)).status === 'sending') await age(id)
      expect(['accepted', 'unknown']).toContain((await message(id)).status)
    })
    expect((await post(to, 'once', `key-${backend}`)).status).toBe(200)
    expect((await post(to, 'something else', `key-${backend}`)).status).toBe(422)
    await sendAnother(to)
    expect(sentTo(to).filter((text) => text === 'once').length).toBeLessThanOrEqual(1)
    expect(sentTo(to).at(-1)).toBe('another')
  })

  describe('a worker killed', () => {
    test('before its claim is committed: sent once, by the next worker', async () => {
      const to = somebody()
      await sendAnother(to)
      let id = ''

      await whileLocked(
        `SELECT * FROM send_buckets FOR UPDATE`,
        async () => {
          id = await order(to, 'once')
        },
        killAndReplace,
      )

      // The message does not wait until the lock of the dead worker's job expires.
      await sendAnother(to)
      expect((await message(id)).status).toBe('accepted')
      expect(sentTo(to)).toEqual(['another', 'once', 'another'])
    })

    once('between claim and call: unknown, never sent', async () => {
      const to = somebody()
      graph.freeze()
      const id = await order(to, 'once')
      await hasStatus(id, 'sending')
      await eventually(async () => {
        const [row] = await query<{ busy: string }>(
          "SELECT count(*) AS busy FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'",
        )
        expect(row?.busy).toBe('0')
      })
      await killAndReplace()
      await graph.takeDown()
      graph.thaw()
      await graph.bringUp()

      expect((await message(id)).status).toBe('sending')
      await age(id)
      await hasStatus(id, 'unknown')
      await sendAnother(to)
      expect(sentTo(to)).toEqual(['another'])
      expect((await message(id)).status).toBe('unknown')
    })

    test('while it copies the file to Meta: queued, and sent once by the next worker', async () => {
      const to = somebody()
      const headers = bearerAuth(API_TOKEN)
      const { id: upload_id } = (
        await send(`${service.url}/api/media?filename=bill.pdf`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/pdf' },
          body: `%PDF on ${backend}`,
        })
      ).json() as { id: string }
      const held = holding()
      meta.next(held.behaviour)
      const body = { to, type: 'document', media: { upload_id } }
      const response = await send(`${service.url}/api/messages`, { method: 'POST', headers, body })
      const { id } = response.json() as { id: string }
      await held.reached()

      await killAndReplace()
      held.release()
      expect((await message(id)).status).toBe('queued')
      // As if the time had passed after which other workers treat this one as dead.
      await query('UPDATE upload_copies SET copying_until = NULL')
      await sendAnother(to)

      expect((await message(id)).status).toBe('accepted')
      const sent = meta.sent().filter((one) => one.to === to)
      expect(sent.map(({ type }) => type)).toEqual(['document', 'text'])
      expect(meta.files().filter((file) => file.includes(`%PDF on ${backend}`))).toHaveLength(2)
    })

    once('during the call: unknown, then the state of the next status', async () => {
      const to = somebody()
      const held = holding()
      meta.next(held.behaviour)
      const id = await order(to, 'once')
      await held.reached()
      await killAndReplace()
      held.release()

      await age(id)
      await hasStatus(id, 'unknown')
      await sendAnother(to)
      await tellStatus(id, 'delivered')

      await hasStatus(id, 'delivered')
      expect(sentTo(to)).toEqual(['once', 'another'])
    })

    once('between the response and its commit: unknown, then the state of the next status', async () => {
      const to = somebody()
      const held = holding()
      meta.next(held.behaviour)
      const id = await order(to, 'once')
      await held.reached()

      await whileLocked(
        `SELECT * FROM chat_messages WHERE id = ${id} FOR UPDATE`,
        () => held.release(),
        killAndReplace,
      )

      expect(await message(id)).toMatchObject({ status: 'sending', wa_message_id: null })
      await age(id)
      await hasStatus(id, 'unknown')
      await sendAnother(to)
      await tellStatus(id, 'read')
      await hasStatus(id, 'read')
      expect(sentTo(to)).toEqual(['once', 'another'])
    })

    once('after the commit: accepted, not sent again', async () => {
      const to = somebody()
      const id = await order(to, 'once')
      const { wa_message_id } = await hasStatus(id, 'accepted')

      await killAndReplace()

      expect(wa_message_id).not.toBeNull()
      await sendAnother(to)
      expect(sentTo(to)).toEqual(['once', 'another'])
    })
  })

  test('a worker that is stopped during a call stores `unknown`', async () => {
    const to = somebody()
    const held = holding()
    meta.next(held.behaviour)
    const id = await order(to, 'once')
    await held.reached()

    const end = await worker.stop({ timeoutMs: 5_000 })

    expect(end).toEqual({ code: 0, signal: null })
    expect(await message(id)).toMatchObject({ status: 'unknown' })
    held.release()
    await startMissingWorker()
    await sendAnother(to)
    expect(sentTo(to)).toEqual(['once', 'another'])
  })

  test('a worker that is stopped waits for a call that ends in time', async () => {
    const to = somebody()
    meta.next((_, exchange) => {
      setTimeout(() => exchange.succeed(), 700)
    })
    const id = await order(to, 'once')
    await hasStatus(id, 'sending')

    await worker.stop({ timeoutMs: 5_000 })

    expect(await message(id)).toMatchObject({ status: 'accepted' })
  })

  test('the database is away when the response arrives: the result is stored afterwards', async () => {
    const to = somebody()
    const held = holding()
    meta.next(held.behaviour)
    const id = await order(to, 'once')
    await held.reached()
    await service.databaseProxy.takeDown()
    held.release()
    await worker.waitForOutput(/outcome of a send cannot be stored/)

    await service.databaseProxy.bringUp()

    await hasStatus(id, 'accepted')
    expect(sentTo(to)).toEqual(['once'])
  })

  // On the PostgreSQL backend, queue and database are away together.
  if (backend === 'redis') {
    test('the queue is away: the message is stored, and sent afterwards', async () => {
      const to = somebody()
      await service.redisProxy?.takeDown()

      const id = await order(to, 'once')
      expect((await message(id)).status).toBe('queued')
      await service.redisProxy?.bringUp()

      await hasStatus(id, 'accepted')
      expect(sentTo(to)).toEqual(['once'])
    })
  }

  once('the log of a worker contains no secret', async () => {
    const to = somebody()
    meta.next((_, exchange) =>
      exchange.answer(401, { error: { code: 190, message: 'Malformed access token test-access-token' } }),
    )
    const id = await order(to, 'once')
    await eventually(async () => expect(JSON.stringify((await message(id)).error)).toContain('Malformed'))

    await eventually(() => expect(worker.output).toContain('stop_sender'))
    expect(worker.output + service.api.output).not.toContain('test-access-token')
    expect(JSON.stringify((await message(id)).error)).not.toContain('test-access-token')
    await query('DELETE FROM send_pauses')
    await query('UPDATE chat_messages SET not_before = NULL WHERE id = $1', [id])
    await hasStatus(id, 'accepted')
  })
})
