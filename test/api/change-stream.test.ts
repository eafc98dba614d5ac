import type { Request, Response } from 'express'
import { expect, test } from 'vitest'
import { createApp } from '../../src/api/app.ts'
import { type ChangeStreamsOptions, createChangeStreams } from '../../src/api/change-stream.ts'
import { createDatabase, createPool } from '../../src/db/connect.ts'
import { type EventStream, openEventStream } from '../support/event-stream.ts'
import { serve } from '../support/http.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { waitForVisibleChanges } from '../support/visible-changes.ts'
import { captureLog } from './captured-log.ts'

async function startStreams(database: TestDatabase, options: Partial<ChangeStreamsOptions> = {}) {
  const { log, lines } = captureLog()
  const streams = createChangeStreams({
    db: database.db,
    signal: new AbortController().signal,
    log,
    ...options,
  })
  const served: Promise<void>[] = []
  const route = async (req: Request, res: Response) => {
    const lastEventId = req.headers['last-event-id']
    const after = typeof lastEventId === 'string' ? lastEventId : undefined
    const stream = streams.serve(req, res, after)
    served.push(stream)
    await stream
  }
  const url = await serve(createApp({ routers: [route], log }))
  const open = (lastEventId?: string): Promise<EventStream> =>
    openEventStream(url, lastEventId === undefined ? {} : { 'last-event-id': lastEventId })
  return { open, served, lines }
}

async function addChanges({ pool, db }: TestDatabase, from: number, to: number): Promise<void> {
  await pool.query(`INSERT INTO changes (kind) SELECT 'n' || n FROM generate_series($1::integer, $2) n`, [
    from,
    to,
  ])
  await waitForVisibleChanges(db)
}

/** Announced messages of half a megabyte each: more than the buffers between two sockets hold. */
async function addLargeMessages({ pool, db }: TestDatabase, count: number): Promise<void> {
  await pool.query(`
    WITH contact AS (INSERT INTO contacts (name) VALUES ('Ada Example') RETURNING id),
    conversation AS (
      INSERT INTO conversations (provider, business_number, contact_id) SELECT 'meta', '1', id FROM contact RETURNING id
    ), message AS (
      INSERT INTO chat_messages (conversation_id, direction, provider, source, detail, message_type, content)
      SELECT id, 'inbound', 'meta', 'webhook', 14, 'text', n || repeat('x', 500000)
      FROM conversation, generate_series(1, ${count}) n RETURNING id
    )
    INSERT INTO changes (kind, message_id) SELECT 'message.created', id FROM message`)
  await waitForVisibleChanges(db)
}

test('a client that does not read is disconnected, and continues from its cursor', async () => {
  const database = await createTestDatabase()
  await addLargeMessages(database, 60)
  const { open, served } = await startStreams(database, { slowClientMs: 300 })

  const slow = await open()
  slow.pause()
  await served[0]
  slow.resume()
  await expect.poll(() => slow.hasEnded, { timeout: 20_000 }).toBe(true)
  const seen = slow.changes().length
  const again = await (await startStreams(database)).open(slow.lastEventId())
  await again.waitForChanges(60 - seen)

  expect(seen).toBeLessThan(60)
  const ids = [...slow.changes(), ...again.changes()].map((change) => change.message_id)
  expect(ids).toEqual([...new Set(ids)])
  expect(ids).toHaveLength(60)
})

test('a client that reads slowly gets everything', async () => {
  const database = await createTestDatabase()
  await addLargeMessages(database, 60)
  const { open } = await startStreams(database, { slowClientMs: 5_000 })

  const slow = await open()
  slow.pause()
  setTimeout(() => slow.resume(), 300)

  expect(await slow.waitForChanges(60)).toHaveLength(60)
})

test('a stream without changes sends heartbeats', async () => {
  const { open } = await startStreams(await createTestDatabase(), { heartbeatMs: 20 })

  const stream = await open()

  await expect
    .poll(() => stream.frames.filter((frame) => frame.comment !== undefined).length)
    .toBeGreaterThan(2)
})

test('a stream survives an outage of the database, and misses nothing', async () => {
  const database = await createTestDatabase()
  const proxy = await startTcpProxy(database.url)
  const db = createDatabase(createPool({ url: proxy.url, applicationName: 'test' }))
  const { open, lines } = await startStreams(database, { db })
  const stream = await open()
  await addChanges(database, 1, 3)
  await stream.waitForChanges(3)

  await proxy.takeDown()
  await addChanges(database, 4, 6)
  await expect.poll(lines, { timeout: 10_000 }).toMatchObject([{ level: 'warn' }])
  await proxy.bringUp()

  const changes = await stream.waitForChanges(6)
  expect(changes.map((change) => change.kind)).toEqual(['n1', 'n2', 'n3', 'n4', 'n5', 'n6'])
  stream.close()
  await db.destroy()
})
