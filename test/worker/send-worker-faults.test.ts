/** The send worker when its database goes away, and when it ends during a call. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { BACKENDS, testOnce } from '../support/backends.ts'
import { cleanUp } from '../support/clean-up.ts'
import { eventually } from '../support/eventually.ts'
import { holding } from '../support/fake-server.ts'
import { holdLock } from '../support/held-lock.ts'
import { orderText } from '../support/outbound.ts'
import { type Sending, startSending } from '../support/sending.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

describe.each(BACKENDS)('on %s', (backend) => {
  const once = testOnce(backend)
  let sending: Sending

  beforeAll(async () => {
    sending = await startSending(backend)
  })
  beforeEach(() => sending.reset())

  const order = async (phone = '15551230001') => {
    const id = await orderText(sending.db, 'Hello', { to: { phone } })
    await sending.producer.notifySends([id])
    return id
  }
  const startWorkerBehindProxy = async () => {
    const proxy = await startTcpProxy(sending.database.url)
    const db = createDatabase(createPool({ url: proxy.url, applicationName: 'test' }))
    cleanUp(() => db.destroy())
    sending.startWorker({ db, sweeps: false })
    return proxy
  }

  once('a message that a firewall refuses stops nobody else', async () => {
    sending.meta.always((call, exchange) =>
      call.body.includes('refused word') ? exchange.answer(400, '<html>blocked</html>') : exchange.succeed(),
    )
    sending.startWorker()
    const refused = await orderText(sending.db, 'refused word', { to: { phone: '15551230001' } })
    await sending.producer.notifySends([refused])
    await eventually(async () => expect((await sending.message(refused)).not_before).not.toBeNull())
    const others = []
    for (let i = 2; i <= 7; i++) others.push(await order(`1555123000${i}`))

    for (const id of others) await sending.hasStatus(id, 'accepted')

    expect(await sending.message(refused)).toMatchObject({ status: 'queued', send_attempts: 1 })
  })

  test('a notification that comes while the database is away is kept, and does its work afterwards', async () => {
    const proxy = await startWorkerBehindProxy()
    await proxy.takeDown()
    const id = await order()
    await eventually(() => expect(sending.errors).not.toEqual([]))

    await proxy.bringUp()

    await sending.hasStatus(id, 'accepted')
    // One report for each pause of a second.
    expect(sending.errors.length).toBeLessThan(10)
  })

  once(
    'a database that goes away during a claim: nothing is sent, and the next notification does it',
    async () => {
      const proxy = await startWorkerBehindProxy()
      await sending.hasStatus(await order(), 'accepted')
      const lock = await holdLock(sending.database, 'SELECT FROM send_buckets FOR UPDATE')
      const id = await order('15551230002')
      await lock.reached()
      await proxy.takeDown()
      await eventually(() => expect(sending.errors).toHaveLength(1))
      await lock.release()
      await proxy.bringUp()
      expect(sending.meta.sent()).toHaveLength(1)

      await sending.producer.notifySends([id])

      await sending.hasStatus(id, 'accepted')
      expect(sending.meta.sent()).toHaveLength(2)
    },
  )

  once('a call that does not end in time is stored as unknown before the worker has ended', async () => {
    const held = holding()
    sending.meta.next(held.behaviour)
    const close = sending.startWorker({ sweeps: false })
    const id = await order()
    await held.reached()

    await close()

    expect((await sending.message(id)).status).toBe('unknown')
    held.release()
    // The worker ended the call, not the provider.
    expect((await sending.database.pool.query('SELECT FROM send_doubts')).rows).toEqual([])
  })

  once('a worker that ends starts nothing of what waits for a slot', async () => {
    const held = holding()
    sending.meta.next(held.behaviour)
    const close = sending.startWorker({ concurrency: 1, sweeps: false })
    const first = await order()
    await held.reached()
    const waiting = await order('15551230002')
    await eventually(async () => {
      const counts = await sending.backend.createQueue('outbound').getJobCounts()
      expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(0)
    })

    const closed = close()
    held.release()
    await closed

    expect((await sending.message(first)).status).toBe('accepted')
    expect((await sending.message(waiting)).status).toBe('queued')
    expect(sending.meta.sent()).toHaveLength(1)
  })
})
